//! Configs of runs and of target models.

#![no_main]

tributary_fuzz::fuzz_program!(tributary_fuzz::inputs::Config);
