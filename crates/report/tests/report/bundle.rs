//! The committed script is what its sources bundle to.

use std::fs;

use tributary_testing::skip;

use crate::node::{run_script, web};

#[test]
fn the_committed_bundle_is_a_fresh_build() {
    let web = match web() {
        Ok(web) => web,
        Err(reason) => return skip("whether the committed page is a fresh build", reason),
    };
    run_script(web, "check");
    run_script(web, "build");
    let fresh = fs::read_to_string(web.join("dist/report.js")).unwrap();
    let committed = include_str!("../../web/dist/report.js");
    assert!(
        fresh == committed,
        "web/dist/report.js is not what web/src makes: run `npm ci && npm run build` in crates/report/web and commit it"
    );
}
