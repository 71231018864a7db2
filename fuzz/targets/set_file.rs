//! Set files of results.

#![no_main]

tributary_fuzz::fuzz_program!(tributary_fuzz::results::SetFile);
