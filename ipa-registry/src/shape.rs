//! What the types forbid, as tests: each snippet that must not compile stands beside a twin that does and differs only
//! in what is forbidden. Only `cargo test --doc` sees this module.

/// RG-23 no one but the holder of the registration can update or remove an entry.
///
/// The holder can:
///
/// ```
/// let registry = ipa_registry::Registry::<String, u32>::new();
/// let registration = registry.register("a".to_owned(), 1).unwrap();
/// registration.update(2);
/// drop(registration);
/// ```
///
/// A holder of the registry cannot update:
///
/// ```compile_fail,E0599
/// let registry = ipa_registry::Registry::<String, u32>::new();
/// let registration = registry.register("a".to_owned(), 1).unwrap();
/// registry.update(2);
/// drop(registration);
/// ```
///
/// Nor remove:
///
/// ```compile_fail,E0599
/// let registry = ipa_registry::Registry::<String, u32>::new();
/// let registration = registry.register("a".to_owned(), 1).unwrap();
/// registration.update(2);
/// registry.remove("a");
/// ```
///
/// A value that was looked up is a clone:
///
/// ```compile_fail,E0594
/// let registry = ipa_registry::Registry::<String, std::sync::Arc<u32>>::new();
/// let registration = registry.register("a".to_owned(), 1.into()).unwrap();
/// *registry.lookup("a").unwrap() = 2;
/// ```
///
/// And a registration has one holder:
///
/// ```compile_fail,E0599
/// let registry = ipa_registry::Registry::<String, u32>::new();
/// let registration = registry.register("a".to_owned(), 1).unwrap();
/// registration.update(2);
/// drop(registration.clone());
/// ```
#[cfg(doctest)]
pub struct OnlyTheHolder;
