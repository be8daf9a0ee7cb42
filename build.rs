//! Makes the Rust declarations of httpd's C API from the headers of the httpd that `apxs` belongs to.
//!
//! `APXS` in the environment names another apxs than the first of `apxs`, `apxs2` on the PATH.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/httpd/headers.h");
    println!("cargo:rerun-if-env-changed=APXS");
    // httpd unloads the module at a restart while a Python thread may still be on its way out of it.
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");

    let apxs = Apxs::find();
    let bindings = bindgen::Builder::default()
        .header("src/httpd/headers.h")
        // The headers of another httpd make other declarations.
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .clang_args(["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"].map(|name| format!("-I{}", apxs.query(name))))
        // The types' layout depends on these: without _GNU_SOURCE and friends off_t and others differ.
        .clang_args(apxs.query("EXTRA_CPPFLAGS").split_whitespace())
        .allowlist_function("ap_.*|apr_.*")
        .allowlist_type("ap_.*|apr_.*|.*_rec|module|command_struct|cmd_how|process_rec|.*_score|authn_.*|authz_.*")
        .allowlist_var("ap_.*|apr_.*|core_module|AP_.*|APLOG_.*|APR_.*|HTTP_.*|M_.*|OK|DECLINED|DONE|OPT_.*|NOT_IN_.*|GLOBAL_ONLY|ENABLE_SENDFILE_.*|ENABLE_MMAP_.*|REQUEST_CHUNKED_.*|MODULE_MAGIC_.*|OR_.*|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ|CONN_.*|SERVER_.*|AUTHN_.*|AUTHZ_.*|REMOTE_.*")
        // They take a va_list, whose layout bindgen cannot promise, and nothing here calls them.
        .blocklist_function(".*_va|.*vformatter|.*vsnprintf|apr_pvsprintf|ap_vrprintf|.*_vputstrs|.*vprintf")
        // Constants as i32: C's int, which OK and DECLINED are returned as.
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed)
        .layout_tests(true)
        .generate_comments(false)
        .generate()
        .unwrap_or_else(|error| panic!("httpd's headers cannot be read: {error}; install apache2-dev and libclang-dev (script/bootstrap does)"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings
        .write_to_file(out.join("httpd.rs"))
        .unwrap_or_else(|error| panic!("{}: {error}", out.join("httpd.rs").display()));
}

/// The build tool of an installed httpd, which knows its folders and flags.
struct Apxs(String);

impl Apxs {
    fn find() -> Apxs {
        let named = env::var("APXS").ok();
        let tried: Vec<String> = named.map_or_else(|| vec!["apxs".into(), "apxs2".into()], |name| vec![name]);
        tried
            .iter()
            .find(|name| {
                Command::new(name)
                    .args(["-q", "INCLUDEDIR"])
                    .output()
                    .is_ok_and(|o| o.status.success())
            })
            .map(|name| Apxs(name.clone()))
            .unwrap_or_else(|| {
                panic!(
                    "no {} found: install apache2-dev (script/bootstrap does), or set APXS",
                    tried.join(" or ")
                )
            })
    }

    fn query(&self, name: &str) -> String {
        let output = Command::new(&self.0)
            .args(["-q", name])
            .output()
            .expect("apxs answered before");
        assert!(output.status.success(), "{} -q {name} failed", self.0);
        String::from_utf8(output.stdout)
            .expect("apxs prints UTF-8")
            .trim()
            .to_owned()
    }
}
