//! `WSGIDispatchScript`: a script says for each request where it runs.

use wsgi_core::abi::HookKind;
use wsgi_core::abi::HookResult::{Nothing, Texts};

use crate::environ::Environ;
use crate::hook::ask_with;
use crate::host::Variables;
use crate::httpd::module::Answer;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::target::Target;

/// Names that entry of environ which a dispatch script is to choose itself.
const CALLABLE: &[u8] = b"mod_wsgi.callable_object";

/// Changes the target as the script chooses, if there is one for this place.
///
/// # Errors
/// 500 when the script cannot be asked: a request that ran elsewhere than it should could see what it must not.
pub fn dispatch<'r>(request: Request<'r>, mut target: Target<'r>) -> Result<Target<'r>, Answer> {
    let Some(script) = request.config::<Wsgi>().dispatch_script else {
        return Ok(target);
    };
    let (result, texts) = {
        let environ = Environ::of(request, &target);
        let mut variables = Variables::new();
        if environ.https {
            variables.push(b"HTTPS", b"1");
        }
        for (name, value) in environ.variables.iter().filter(|(name, _)| *name != CALLABLE) {
            variables.push(name, value);
        }
        ask_with(request, script, HookKind::Dispatch, [b"", b""], &variables)
    };
    if !matches!(result, Texts | Nothing) {
        return Err(Answer::Status(500));
    }
    for (which, value) in texts {
        match which {
            0 => target.set_process_group(request, &value),
            1 => target.set_application_group(request, &value),
            _ => target.set_callable_object(request, &value),
        }
    }
    Ok(target)
}
