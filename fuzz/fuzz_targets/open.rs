//! Opening, reading and writing a store whose files were edited
#![cfg_attr(fuzzing, no_main)]

ipa_fuzz::target!(ipa_fuzz::open::check);
