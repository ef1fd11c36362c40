//! Importing JSON lines into a store: refused with a line, or exported the same again
#![cfg_attr(fuzzing, no_main)]

ipa_fuzz::target!(ipa_fuzz::import::check);
