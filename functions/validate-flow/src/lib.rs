//! `POST /flows/validate`

use shared::api::{App, Problem, Request, Response, diagnostics_of_faults, read_body, validation_response};
use shared::flow::{Flow, Level, NodeIds, too_large};
use shared::identity::Permission;
use shared::store::Error;

/// Says everything there is to say about a flow, which is not stored.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let fields = read_body(&request)?.object()?;
    // Read only when something is wrong: it goes through the body once more.
    let say = |faults: &[_]| diagnostics_of_faults(faults, &NodeIds::read(&fields));
    let found = match Flow::create(&caller, fields.clone(), app.component_check, app.tenant_role) {
        Err(faults) => say(&faults),
        Ok(flow) => {
            let mut found = app.diagnose(&flow.document, Level::Info);
            match app.store.check(None, &flow).await {
                Ok(()) => {}
                Err(Error::UnknownSecrets(faults) | Error::OwnersGone(faults)) => {
                    found.splice(0..0, say(&faults));
                }
                Err(Error::TooLarge) => {
                    found.splice(0..0, say(&[too_large()]));
                }
                Err(error) => return Err(error.into()),
            }
            found
        }
    };
    validation_response(&found)
}
