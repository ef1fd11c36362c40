use super::*;

/// `name [modules] ids`, with a star for tests.
fn functions(text: &str) -> Vec<String> {
    scan(text)
        .functions
        .iter()
        .map(|one| {
            let star = if one.is_test { "*" } else { "" };
            format!("{star}{} [{}] {}", one.name, one.inline.join("::"), one.ids.join(" "))
        })
        .collect()
}

#[test]
fn documented_tests_are_found_with_their_modules() {
    let text = r#"
//! AA-00 of the module

/// AA-01 plain
#[test]
fn one() {}

mod tests {
    use super::*;
    mod deeper {
        #[tokio::test(start_paused = true, flavor = "current_thread")]
        /// AA-02, AA-03: the attribute first
        pub(crate) async fn two() { if true { struct S { x: u8 } } }
    }
    /// AA-04 after a nested module
    #[test]
    #[should_panic(expected = "mod x {")]
    fn three() -> Result<(), [u8; 3]> { Ok(()) }
}

/** AA-05 in a block
 * of two lines */
unsafe extern "C" fn four() {}

/// AA-06 no id at its beginning counts
/// AA-07 but this one does not
fn five() {}
/// no id, though AA-08 is named
fn six() {}
fn seven() {}
"#;
    assert_eq!(
        functions(text),
        [
            "*one [] AA-01",
            "*two [tests::deeper] AA-02 AA-03",
            "*three [tests] AA-04",
            "four [] AA-05",
            "five [] AA-06"
        ]
    );
}

#[test]
fn tests_in_proptest_blocks_are_found_where_they_are() {
    let text = "
mod props {
    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

        /// AA-01 any number
        #[test]
        fn any(x in 0..5u8, (a, b) in pair()) { prop_assert!(x < 5); }

        /// AA-02 another
        #[test]
        fn other(s in \"[a-z]{2}\") {}
    }
}
/// AA-03 outside
#[test] fn outside() {}
";
    assert_eq!(functions(text), ["*any [props] AA-01", "*other [props] AA-02", "*outside [] AA-03"]);
}

#[test]
fn a_plain_function_is_no_test_whatever_its_other_attributes() {
    let text =
        "/// AA-01 x\n#[cfg(test)]\n#[cfg_attr(unix, test_thing)]\npub async fn suite<S: Store>(store: S) {}";
    assert_eq!(functions(text), ["suite [] AA-01"]);
}

#[test]
fn strings_comments_and_lifetimes_do_not_fool_it() {
    let text = r####"
const A: &str = "/// AA-01 \" #[test] fn a() {} {{{";
const B: &str = r#"/// AA-02 "
#[test] fn b() {} }"#;
const C: &[u8] = br"fn c() \"; const D: char = '"'; const E: char = '\''; const F: u8 = b'{'; const G: char = 'ü';
// /// AA-03 in a comment #[test] fn d() {} {
//// AA-04 four slashes
#[test]
fn e() {}
/* /* nested */ mod gone { /// AA-05
*/
/*** AA-06 */ fn f() {}
mod tests {
    fn g<'a>(x: &'a str) -> &'a str { 'outer: loop { break 'outer } x }
    /// AA-07 still in tests
    #[test]
    fn r#type() {}
}
"####;
    assert_eq!(functions(text), ["*type [tests] AA-07"]);
}

#[test]
fn a_comment_belongs_to_the_next_item_alone() {
    let text = "
/// AA-01 of a struct
struct S { f: fn(u8) }
/// AA-02 of a constant
const X: u8 = 1;
/// AA-03 of a module
mod m { fn inner() {} }
fn free() {}
/// AA-04 of a macro's function
fn $name() {}
fn last() {}
";
    assert!(functions(text).is_empty());
    let comments = scan(text).comments;
    assert_eq!(comments.len(), 4);
    assert_eq!(comments[0], Comment { ids: vec!["AA-01".into()], first: 2, last: 2 });
}

#[test]
fn comments_know_their_lines_with_the_doctests_in_them() {
    let text = "//! AA-01 inner\n//!\n//! ```\n//! ```\nuse x;\n\n/// AA-02 outer\n/// ```compile_fail\n/// x\n/// ```\n#[allow(x)]\n/// more\npub struct S;\n";
    let lines: Vec<_> =
        scan(text).comments.iter().map(|one| (one.ids[0].clone(), one.first, one.last)).collect();
    assert_eq!(lines, [("AA-01".to_string(), 1, 4), ("AA-02".to_string(), 7, 12)]);
}

#[test]
fn module_declarations_are_found() {
    let text = "pub(crate) mod a; mod b { #[cfg(test)] #[path = \"c_tests.rs\"] mod c; }
        #[path = \"x.rs\"] struct S; mod d;";
    let module = |name: &str, inline: &[&str], path: Option<&str>| Module {
        name: name.into(),
        inline: inline.iter().map(|one| one.to_string()).collect(),
        path: path.map(String::from),
    };
    let expected = [module("a", &[], None), module("c", &["b"], Some("c_tests.rs")), module("d", &[], None)];
    assert_eq!(scan(text).modules, expected);
}

#[test]
fn text_that_is_no_rust_does_no_harm() {
    for text in [
        "",
        "\"",
        "'",
        "'\\",
        "r#",
        "r##\"",
        "/*",
        "/**/",
        "#[",
        "#",
        "fn",
        "mod",
        "mod x",
        "}}}",
        "/// AA-01",
        "ü'ü",
        "b'",
    ] {
        let _ = scan(text);
    }
    assert_eq!(scan("/// AA-01").comments.len(), 1);
}
