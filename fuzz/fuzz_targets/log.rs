//! The walk over a write-ahead log, in memory, against the format's documentation
#![cfg_attr(fuzzing, no_main)]

ipa_fuzz::target!(ipa_fuzz::log::check);
