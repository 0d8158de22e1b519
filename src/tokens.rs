//! An estimate of how many tokens a text is, without a tokenizer.
