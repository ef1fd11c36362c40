use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::{run, testing::TempDir};

/// The good graph, as `cargo metadata` prints it.
fn good() -> Value {
    let package = |name: &str, folder: &str, dependencies: Value| {
        json!({
            "name": name, "version": "0.1.0", "manifest_path": format!("/w/{folder}/Cargo.toml"),
            "dependencies": dependencies,
        })
    };
    json!({
        "workspace_root": "/w", "target_directory": "/w/target", "version": 1,
        "packages": [
            package("ipa-registry", "ipa-registry", json!([registry("tokio", "dev")])),
            package("ipa-supervisor", "ipa-supervisor", json!([registry("tokio", "")])),
            package("ipa-pod", "ipa-pod", json!([local("ipa-registry", ""), local("ipa-supervisor", "")])),
            package("ipa-eventstore", "ipa-eventstore", json!([local("ipa-pod", ""), local("ipa-supervisor", "dev")])),
            package("xtask", "xtask", json!([registry("clap", "")])),
            package("bench", "xtask/bench", json!([local("ipa-eventstore", ""), local("ipa-registry", "build")])),
            package("targets", "fuzz", json!([local("ipa-registry", "")])),
        ],
    })
}

fn registry(name: &str, kind: &str) -> Value {
    let kind = if kind.is_empty() { Value::Null } else { kind.into() };
    json!({ "name": name, "kind": kind, "source": "registry+https://example.org", "optional": false })
}

fn local(name: &str, kind: &str) -> Value {
    let mut dependency = registry(name, kind);
    dependency["path"] = format!("/w/{name}").into();
    dependency["source"] = Value::Null;
    dependency
}

/// The good graph, with this dependency put into that package.
fn with(package: &str, dependency: Value) -> Value {
    let mut graph = good();
    let packages = graph["packages"].as_array_mut().unwrap();
    let package = packages.iter_mut().find(|one| one["name"] == package).unwrap();
    package["dependencies"].as_array_mut().unwrap().push(dependency);
    graph
}

/// Checks it, and gives the one message that it must give.
fn refused(graph: Value) -> String {
    let metadata: Metadata = serde_json::from_value(graph).unwrap();
    let violations = check(&metadata).unwrap_err();
    assert_eq!(violations.len(), 1, "{violations:?}");
    violations[0].to_string()
}

fn assert_has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn the_good_graph_passes() {
    let metadata: Metadata = serde_json::from_value(good()).unwrap();
    assert_eq!(check(&metadata), Ok(7));
}

#[test]
fn an_upward_dependency_of_any_kind_is_refused() {
    for (kind, table) in
        [("", "[dependencies]"), ("dev", "[dev-dependencies]"), ("build", "[build-dependencies]")]
    {
        let message = refused(with("ipa-registry", local("ipa-pod", kind)));
        assert_has(&message, &["ipa-registry has", "on ipa-pod", table, "ipa-registry/Cargo.toml", "trait"]);
    }
    let message = refused(with("ipa-supervisor", local("ipa-eventstore", "dev")));
    assert_has(&message, &["ipa-supervisor has a dev-dependency on ipa-eventstore"]);
}

#[test]
fn an_upward_dependency_from_a_registry_is_refused_too() {
    let message = refused(with("ipa-supervisor", registry("ipa-pod", "")));
    assert_has(&message, &["ipa-supervisor has a dependency on ipa-pod"]);
}

#[test]
fn a_crate_may_use_itself_in_its_tests_alone() {
    let metadata: Metadata =
        serde_json::from_value(with("ipa-eventstore", local("ipa-eventstore", "dev"))).unwrap();
    assert!(check(&metadata).is_ok());
    refused(with("ipa-eventstore", local("ipa-eventstore", "build")));
}

#[test]
fn a_member_that_the_table_does_not_name_is_refused() {
    let mut graph = good();
    let member = json!({ "name": "extra", "manifest_path": "/w/extra/Cargo.toml", "dependencies": [] });
    graph["packages"].as_array_mut().unwrap().push(member);
    assert_has(&refused(graph), &["extra (extra/Cargo.toml)", "xtask/src/layers.rs"]);
}

#[test]
fn a_folder_that_only_begins_like_a_tool_s_is_no_tool() {
    let mut graph = good();
    let member = json!({ "name": "extra", "manifest_path": "/w/xtask-extra/Cargo.toml", "dependencies": [] });
    graph["packages"].as_array_mut().unwrap().push(member);
    assert_has(&refused(graph), &["extra (xtask-extra/Cargo.toml)"]);
}

#[test]
fn nothing_may_use_a_tool() {
    assert_has(
        &refused(with("ipa-pod", local("bench", "dev"))),
        &["ipa-pod has a dev-dependency on bench", "tool"],
    );
    assert_has(&refused(with("bench", local("xtask", ""))), &["bench has a dependency on xtask", "tool"]);
    assert_has(
        &refused(with("xtask", local("targets", "build"))),
        &["xtask has a build-dependency on targets"],
    );
}

#[test]
fn xtask_uses_nothing_of_the_stack() {
    let message = refused(with("xtask", local("ipa-registry", "dev")));
    assert_has(&message, &["xtask has a dev-dependency on ipa-registry", "xtask/Cargo.toml"]);
}

#[test]
fn a_path_out_of_the_workspace_is_refused() {
    let message = refused(with("ipa-pod", local("elsewhere", "")));
    assert_has(&message, &["ipa-pod has a dependency on elsewhere", "no member"]);
}

#[test]
fn every_wrong_arrow_is_told() {
    let mut graph = with("ipa-registry", local("ipa-pod", ""));
    graph["packages"][1]["dependencies"].as_array_mut().unwrap().push(local("ipa-eventstore", ""));
    let metadata: Metadata = serde_json::from_value(graph).unwrap();
    assert_eq!(check(&metadata).unwrap_err().len(), 2);
}

/// The same with cargo itself: our own manifests pass, and stop passing with an upward dependency put in by hand.
#[test]
fn cargo_s_own_answer_about_our_manifests_passes_and_fails() {
    let copy = TempDir::new("layers");
    let metadata = metadata::read().unwrap();
    let root = run::root();
    fs::copy(root.join("Cargo.toml"), copy.path().join("Cargo.toml")).unwrap();
    for package in &metadata.packages {
        let manifest = metadata.manifest(package);
        let folder: PathBuf = copy.path().join(manifest.parent().unwrap());
        fs::create_dir_all(folder.join("src")).unwrap();
        let text = fs::read_to_string(&package.manifest_path).unwrap();
        // Targets that a manifest names by path are not copied; an empty library stands for all.
        let targets = text.find("\n[[").unwrap_or(text.len());
        fs::write(folder.join("Cargo.toml"), &text[..targets]).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
    }
    assert!(check(&metadata::read_at(copy.path()).unwrap()).is_ok());

    let manifest = copy.path().join("ipa-registry/Cargo.toml");
    let mut text = fs::read_to_string(&manifest).unwrap();
    text.push_str(
        "\n[target.'cfg(unix)'.dev-dependencies]\npods = { package = \"ipa-pod\", path = \"../ipa-pod\" }\n",
    );
    fs::write(&manifest, text).unwrap();
    let violations = check(&metadata::read_at(copy.path()).unwrap()).unwrap_err();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_has(&violations[0].to_string(), &["ipa-registry has a dev-dependency on ipa-pod"]);
}
