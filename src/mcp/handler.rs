//! The protocol's side of the tools.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use epitome_work::Cancel;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::RequestContext,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task, time,
};

use super::{
    arguments,
    tools::{ToolError, Tools},
};

/// What a call may take.
#[derive(Clone)]
pub struct Limits {
    /// One permit per call that compacts.
    pub permits: Arc<Semaphore>,
    /// The time of a call, its wait included.
    pub deadline: Duration,
    /// Whether the models are loaded, or may be loaded by a call.
    pub is_ready: bool,
    /// Whether a call waits for a permit. One that waits would be served before requests that do not.
    pub waits: bool,
}

/// A session with one client.
#[derive(Clone)]
pub(super) struct Handler {
    tools: Tools,
    limits: Limits,
}

impl Handler {
    pub(super) fn new(tools: Tools, limits: Limits) -> Self {
        Self { tools, limits }
    }

    /// A place for a call that compacts.
    async fn place(&self) -> Result<OwnedSemaphorePermit, ToolError> {
        if !self.limits.is_ready {
            return Err(ToolError::NotReady);
        }
        let permits = self.limits.permits.clone();
        if !self.limits.waits {
            return permits.try_acquire_owned().map_err(|_| ToolError::Busy);
        }
        let free = time::timeout(self.limits.deadline, permits.acquire_owned());
        free.await.ok().and_then(Result::ok).ok_or(ToolError::Busy)
    }
}

/// Cancels the work of a call that nobody waits for.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("epitome", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Shortens long texts to what a question needs and keeps the originals. Where a text says that its \
                 original can be retrieved with a hash, `retrieve` gives it back.",
            )
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = arguments::all().into_iter().map(|tool| {
            let hints = ToolAnnotations::new().read_only(true).open_world(false);
            Tool::new(tool.name, tool.words, Arc::new(tool.schema)).with_annotations(hints)
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a tool failed");
            ErrorData::internal_error("something failed inside epitome; its log says what", None)
        };
        let cancel = Instant::now().checked_add(self.limits.deadline).map_or_else(Cancel::never, Cancel::at);
        let _guard = CancelOnDrop(cancel.clone());
        let (tools, work) = (self.tools.clone(), cancel.clone());
        let (name, mut arguments) = (request.name, request.arguments.unwrap_or_default());
        let calling = async {
            let place = match arguments::is_lookup(&name, &arguments) {
                true => None,
                false => match self.place().await {
                    Ok(place) => Some(place),
                    Err(refused) => match arguments::without_query(&name, arguments) {
                        Some(left) => {
                            arguments = left;
                            None
                        }
                        None => return Ok(Err(refused)),
                    },
                },
            };
            let running = task::spawn_blocking(move || {
                let _place = place;
                tools.call(&name, arguments, &work)
            });
            running.await
        };
        let called = tokio::select! {
            called = calling => called.map_err(|error| internal(&error))?,
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("cancelled", None)),
        };
        match called {
            Ok(said) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(said.words)]);
                if said.is_data {
                    result.structured_content = Some(said.data);
                } else {
                    result.meta.get_or_insert_default().insert("epitome".to_owned(), said.data);
                }
                Ok(result.into())
            }
            Err(error @ ToolError::Unknown(_)) => Err(ErrorData::invalid_params(error.to_string(), None)),
            // The model that called sees these, and can call again.
            Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into()),
        }
    }
}
