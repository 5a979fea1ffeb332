"""The masked language model: tokenizer, encoder, masking, training, scoring."""
