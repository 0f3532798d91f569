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
    let nodes = NodeIds::read(&fields);
    let found = match Flow::create(&caller, fields, app.component_check) {
        Err(faults) => diagnostics_of_faults(&faults, &nodes),
        Ok(flow) => {
            let mut found = app.diagnose(&flow.document, Level::Info);
            match app.store.check(None, &flow).await {
                Ok(()) => {}
                Err(Error::UnknownSecrets(faults)) => {
                    found.splice(0..0, diagnostics_of_faults(&faults, &nodes));
                }
                Err(Error::TooLarge) => {
                    found.splice(0..0, diagnostics_of_faults(&[too_large()], &nodes));
                }
                Err(error) => return Err(error.into()),
            }
            found
        }
    };
    validation_response(&found)
}
