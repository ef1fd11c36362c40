//! The names that the tests here have in common with the conformance suite.

pub use ipa_eventstore::testkit::fixtures::{Store, event, events, id, kind, next, stream, take, versions};
