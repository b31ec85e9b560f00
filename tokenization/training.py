from tokenization.vocabulary import WordPiece, train_wordpiece

TrainedTokenizer = WordPiece
train_tokenizer = train_wordpiece
