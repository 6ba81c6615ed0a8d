//! Changes told to a management frontend that may have been told before.

use crate::deployment::Change;
use crate::{ManagementClient, ManagementError};

/// Sends a change. One that is refused, or of which nobody knows, may have been made by an earlier attempt: then the management
/// frontend shows what it was to bring about. The error says who refuses what, and why.
pub(crate) async fn tell(management: &mut ManagementClient, change: &Change) -> Result<(), String> {
    let failed = match management.change(change).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let is_done = match &failed {
        ManagementError::Refused(_) | ManagementError::Unknown(_) => is_made(management, change).await,
        _ => Ok(false),
    };
    match is_done {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(format!("management frontend at {}: {}: {failed}", management.address(), change.endpoint()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the management frontend shows what the change was to bring about.
async fn is_made(management: &mut ManagementClient, change: &Change) -> Result<bool, ManagementError> {
    Ok(match change {
        Change::AddApp(wanted) => management.application(&wanted.name).await?.is_some_and(|found| {
            (found.input_type, &found.default_output, found.latency_slo_micros)
                == (wanted.input_type, &wanted.default_output, wanted.latency_slo_micros)
        }),
        Change::DeleteApp { name } => management.application(name).await?.is_none(),
        Change::AddModel(wanted) => management.model(wanted.id()).await?.is_some_and(|found| {
            found.input_type == wanted.input_type && found.container_name == wanted.container_name
        }),
        Change::SetModelVersion(id) => {
            management.model(id.clone()).await?.is_some_and(|found| found.is_current_version)
        }
        Change::DeleteVersionedModel(id) => management.model(id.clone()).await?.is_none(),
        Change::AddModelLinks(links) => management.linked_models(&links.app_name).await? == links.model_names,
        Change::DeleteModelLinks(links) => {
            let linked = management.linked_models(&links.app_name).await?;
            !linked.iter().any(|name| links.model_names.contains(name))
        }
    })
}
