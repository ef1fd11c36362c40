//! The task file of the example: refused with a place, or a sound plan
#![cfg_attr(fuzzing, no_main)]

ipa_fuzz::target!(ipa_fuzz::plan::check);
