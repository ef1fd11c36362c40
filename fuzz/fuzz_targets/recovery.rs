//! The walk over a write-ahead log, against what SQLite takes up of it
#![cfg_attr(fuzzing, no_main)]

ipa_fuzz::target!(ipa_fuzz::recovery::check);
