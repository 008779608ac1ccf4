//! `tidemill:plugin/emit`: a wish to publish, checked and collected.

use tidemill_core::effect::EmitRequest;
use tidemill_core::grant::Refusal;

use super::NO_CALL;
use crate::bindings::tidemill::plugin::emit::{EmitError, Host, Outgoing};
use crate::guest::Guest;

impl Host for Guest {
    fn emit(&mut self, event: Outgoing) -> Result<(), EmitError> {
        let Some(call) = &mut self.call else {
            return Err(EmitError::Invalid(NO_CALL.to_owned()));
        };
        if let Some(recorder) = &self.reach.recorder {
            recorder.emit(&call.settings.route, &event.to);
        }
        call.emits.emit(request(event), &call.settings.grant, &call.settings.limits).map_err(refused)
    }
}

fn request(event: Outgoing) -> EmitRequest {
    EmitRequest {
        to: event.to,
        kind: event.kind,
        subject: event.subject,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        extensions: event.extensions.into_iter().map(|attribute| (attribute.name, attribute.value)).collect(),
        data: event.data.into(),
    }
}

fn refused(refusal: Refusal) -> EmitError {
    let text = refusal.to_string();
    match refusal {
        Refusal::NotGranted(_) | Refusal::ReservedSubject(_) => EmitError::NotGranted(text),
        Refusal::BadSubject(..)
        | Refusal::BadType(_)
        | Refusal::BadAttribute(_)
        | Refusal::TooManyExtensions(_)
        | Refusal::BadExtension(..) => EmitError::Invalid(text),
        Refusal::Limit { .. } => EmitError::Limit(text),
    }
}
