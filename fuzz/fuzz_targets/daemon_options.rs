//! No arguments of `WSGIDaemonProcess` break the parser, and what they wrote gives the same options again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::Words;

fuzz_target!(|arguments: &[u8]| {
    if let Ok(options) = DaemonOptions::parse(Words::new(arguments)) {
        let again = DaemonOptions::from_written(options.name.clone(), options.written.clone());
        assert_eq!(again.as_ref(), Ok(&options));
    }
});
