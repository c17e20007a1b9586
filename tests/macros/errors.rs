//! Every mistake is reported at its place, with the fix in the text.

#[test]
fn mistakes_are_named_at_their_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
