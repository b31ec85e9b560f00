"""The figures of pretrain.audit, a section a file."""
