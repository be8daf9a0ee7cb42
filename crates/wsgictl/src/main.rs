//! `wsgictl`
fn main() {}
