//! Tokenizers.

#![no_main]

tributary_fuzz::fuzz_program!(tributary_fuzz::inputs::Tokenizer);
