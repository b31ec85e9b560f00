"""Tables that pyarrow reads, .parquet and .arrow, batch by batch and of all columns only that of the text."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tokenization.reading.documents import Document, Problems, Reading, Unreadable, check_columns, column_documents
from tokenization.reading.sources import FileSource
from tokenization.reading.streams import BUFFER_BYTES, system_fault

_BATCH_BYTES = 4 << 20  # of text that a batch of rows should hold
_ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream


def read_parquet(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    """Give the documents of a .parquet file."""
    import pyarrow.parquet as pq  # takes a while, and only this reader needs it

    with _table_damage(file), ExitStack() as stack:
        # Without pre_buffer, which would hold whole row groups, and without a memory map, which would count as ours.
        table = stack.enter_context(
            pq.ParquetFile(file.path, pre_buffer=False, buffer_size=BUFFER_BYTES, page_checksum_verification=True)
        )
        index = _text_column(table.schema_arrow, file, reading.text_field)
        num_rows = 0
        for group in range(table.num_row_groups):
            batches = table.iter_batches(
                _rows_per_batch(table.metadata.row_group(group), reading.text_field),
                row_groups=[group],
                columns=[table.schema_arrow.names[index]],
                use_threads=False,
            )
            for batch in batches:
                yield from column_documents(batch.column(0), file.origin, num_rows, reading.text_field, problems)
                num_rows += batch.num_rows


def _rows_per_batch(group: Any, text_field: str) -> int:
    columns = (group.column(i) for i in range(group.num_columns))
    num_bytes = int(sum(c.total_uncompressed_size for c in columns if c.path_in_schema == text_field))
    return max(1, int(group.num_rows) * _BATCH_BYTES // max(1, num_bytes))


def read_arrow(file: FileSource, reading: Reading, problems: Problems) -> Iterator[Document]:
    """Give the documents of an .arrow file, of the streaming or the file format."""
    import pyarrow as pa

    with _table_damage(file), pa.OSFile(str(file.path)) as data:
        is_file = data.read(6) == b"ARROW1"
        data.seek(0)
        open_table = pa.ipc.open_file if is_file else pa.ipc.open_stream
        index = _text_column(open_table(data).schema, file, reading.text_field)
        data.seek(0)
        table = open_table(data, options=pa.ipc.IpcReadOptions(included_fields=[index], use_threads=False))
        num_rows = 0
        batches = (table.get_batch(i) for i in range(table.num_record_batches)) if is_file else table
        for batch in batches:
            yield from column_documents(batch.column(0), file.origin, num_rows, reading.text_field, problems)
            num_rows += batch.num_rows
        data.seek(file.num_bytes - len(_ARROW_END))
        if not is_file and data.read() != _ARROW_END:
            raise _table_fault(file, "truncated", f"no end mark behind row {num_rows}")


def _text_column(schema: Any, file: FileSource, text_field: str) -> int:
    """The index of the column of the text in an Arrow schema.

    Raises:
        Unreadable: there is none, or it has no text.
    """
    import pyarrow as pa

    check_columns(schema.names, file.origin, text_field)
    index = int(schema.get_field_index(text_field))
    found = schema.field(index).type
    inner = found.value_type if pa.types.is_dictionary(found) else found
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(inner) for is_kind in kinds):
        raise Unreadable(
            "text field is not text",
            f"{file.path}: got the column {text_field!r} of type {found}, expected text (string).",
            "Set corpus.text_field to the column that holds the text",
        )
    return index


@contextmanager
def _table_damage(file: FileSource) -> Iterator[None]:
    """Turn what pyarrow raises while it reads a file into Unreadable."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise system_fault(file, error) from error
        raise _table_fault(file, "damaged", str(error)) from error


def _table_fault(file: FileSource, fault: str, error: str) -> Unreadable:
    got = f"{file.path}: got a {fault} {file.kind} file ({error}), expected a complete one."
    return Unreadable(f"{fault} {file.kind}", got, "Copy or download it again")
