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

/// RG-23 and of groups, no one but the holder of a membership.
///
/// The holder can:
///
/// ```
/// let groups = ipa_registry::Groups::<String, u32>::new();
/// let membership = groups.join("a".to_owned(), 1);
/// membership.update(2);
/// drop(membership);
/// ```
///
/// A holder of the groups cannot update:
///
/// ```compile_fail,E0599
/// let groups = ipa_registry::Groups::<String, u32>::new();
/// let membership = groups.join("a".to_owned(), 1);
/// groups.update(2);
/// drop(membership);
/// ```
///
/// Nor take a member out:
///
/// ```compile_fail,E0599
/// let groups = ipa_registry::Groups::<String, u32>::new();
/// let membership = groups.join("a".to_owned(), 1);
/// membership.update(2);
/// groups.leave("a");
/// ```
///
/// What a dispatch shows is not to be changed:
///
/// ```compile_fail,E0594
/// let groups = ipa_registry::Groups::<String, u32>::new();
/// let membership = groups.join("a".to_owned(), 1);
/// groups.dispatch("a", |value| *value = 2);
/// ```
///
/// And a membership has one holder:
///
/// ```compile_fail,E0599
/// let groups = ipa_registry::Groups::<String, u32>::new();
/// let membership = groups.join("a".to_owned(), 1);
/// membership.update(2);
/// drop(membership.clone());
/// ```
#[cfg(doctest)]
pub struct OnlyTheMember;
