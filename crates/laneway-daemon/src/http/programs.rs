//! Requests about instances of configured programs. Their routes stand below `/api/programs/{program}`, and below
//! `/api/orchestrator` for the program that is meant where none is named.

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::delete;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::program::{
    ConfigureInstance, InstanceConfigured, InstanceDone, InstanceRemoved, InstanceRunView, InstanceView,
    ProgramView, ReadHistory, StartInstance, WorkersHealth,
};
use laneway_api::routes;
use laneway_core::instance::InstanceName;
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Caller, Failure, Json, MAX_TARGET, Query, Served, detached, not_read, usage};
use crate::clock::now;
use crate::engine::{Engine, ProgramAsked, Which};

/// How much of the history is told if nothing is said.
const USUAL_HISTORY: u32 = 20;

/// The most of the history that is told at once.
const MAX_HISTORY: u32 = 50;

/// The routes below a program.
pub(super) fn below_a_program() -> OpenApiRouter<Served> {
    // An instance may be called as a route is.
    let called_as_a_route = [
        routes::INSTANCES,
        routes::DEFAULT_STATUS,
        routes::DEFAULT_START,
        routes::DEFAULT_STOP,
        routes::HISTORY,
    ];
    let documented = OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(status))
        .routes(routes!(start_default))
        .routes(routes!(stop_default))
        .routes(routes!(history))
        .routes(routes!(health))
        .routes(routes!(remove))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(configure));
    called_as_a_route.into_iter().fold(documented, |router, path| router.route(path, delete(remove)))
}

/// The program and the instance that a path names.
pub(super) struct InPath {
    which: Which,
    instance: InstanceName,
}

impl FromRequestParts<Served> for InPath {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Failure> {
        let is_removal = parts.method == axum::http::Method::DELETE;
        let last = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let params = RawPathParams::from_request_parts(parts, served)
            .await
            .map_err(|rejection| usage("bad_path", &rejection.body_text()))?;
        let named = |wanted| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let which = match named("program") {
            Some(program) if program.chars().count() > MAX_TARGET => {
                return Err(bad_field("program", &format!("a program has at most {MAX_TARGET} characters")));
            }
            Some(program) => Which::Named(program.to_owned()),
            None => Which::First,
        };
        let id = named("id").or_else(|| is_removal.then_some(last.as_str()));
        let instance = match id {
            Some(id) => id.parse().map_err(|error| bad_field("id", &error))?,
            None => InstanceName::default_one(),
        };
        Ok(Self { which, instance })
    }
}

fn bad_field(field: &str, said: &impl ToString) -> Failure {
    let problem = Problem::new(ErrorKind::Usage, "bad_id", format!("{field}: {}", said.to_string()));
    Failure(problem.details(serde_json::json!({ "field": field })))
}

/// A JSON body that may be left out.
pub(super) struct Optional<T>(T);

impl<T: DeserializeOwned + Default> FromRequest<Served> for Optional<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, served: &Served) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let bytes = bytes::Bytes::from_request(whole, served)
            .await
            .map_err(|rejection| not_read(&rejection, super::MAX_BODY))?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let request = Request::from_parts(parts, bytes.into());
        Json::from_request(request, served).await.map(|Json(body)| Self(body))
    }
}

/// Programs of the repository that the caller stands in.
#[utoipa::path(
    get,
    path = routes::PROGRAMS,
    operation_id = "list_programs",
    tag = "programs",
    responses((status = 200, body = Vec<ProgramView>)),
)]
pub(super) async fn programs(
    State(engine): State<Engine>,
    caller: Caller,
) -> Result<Json<Vec<ProgramView>>, Failure> {
    let programs = engine.programs(&caller.cwd, caller.request).await?;
    let views = programs.into_iter().map(|(program, instances)| ProgramView {
        configured: program.configured.is_some(),
        command: program.configured.iter().flat_map(|(program, _)| program.command.clone()).collect(),
        channel: program.configured.and_then(|(program, _)| program.channel),
        name: program.name,
        instances,
    });
    Ok(Json(views.collect()))
}

/// All instances of a program.
#[utoipa::path(
    get,
    path = routes::INSTANCES,
    operation_id = "list_instances",
    tag = "programs",
    responses((status = 200, body = Vec<InstanceView>)),
)]
pub(super) async fn list(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, .. }: InPath,
) -> Result<Json<Vec<InstanceView>>, Failure> {
    let of = engine.program(&caller.cwd, which, caller.request).await?;
    Ok(Json(engine.instance_views(&of).await?))
}

/// The instance `default`; as one that was never started if there is none.
#[utoipa::path(
    get,
    path = routes::DEFAULT_STATUS,
    operation_id = "show_default_instance",
    tag = "programs",
    responses((status = 200, body = InstanceView)),
)]
pub(super) async fn status(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, instance }: InPath,
) -> Result<Json<InstanceView>, Failure> {
    let of = engine.program(&caller.cwd, which, caller.request).await?;
    Ok(Json(engine.instance_or_none(&of, &instance).await?))
}

/// Start an instance; it is made if there is none.
#[utoipa::path(
    post,
    path = routes::INSTANCE_START,
    operation_id = "start_instance",
    tag = "programs",
    request_body = Option<StartInstance>,
    responses((status = 202, body = InstanceDone)),
)]
pub(super) async fn start(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, instance }: InPath,
    Optional(wanted): Optional<StartInstance>,
) -> Result<(StatusCode, Json<InstanceDone>), Failure> {
    let started = detached(async move {
        let of = engine.program(&caller.cwd, which, caller.request).await?;
        engine.start_instance(&of, &instance, wanted.into(), caller.request).await?;
        done(&engine, &of, &instance, "start requested").await
    });
    Ok((StatusCode::ACCEPTED, Json(started.await?)))
}

/// Stop an instance, and wait until nothing of it runs.
#[utoipa::path(
    post,
    path = routes::INSTANCE_STOP,
    operation_id = "stop_instance",
    tag = "programs",
    responses((status = 200, body = InstanceDone)),
)]
pub(super) async fn stop(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, instance }: InPath,
) -> Result<Json<InstanceDone>, Failure> {
    let stopped = detached(async move {
        let of = engine.program(&caller.cwd, which, caller.request).await?;
        let Some(row) = engine.instance_row(&of, &instance).await? else {
            let message = format!("there is no instance {instance} of {}, and so it does not run", of.name);
            return Err(Problem::new(ErrorKind::Refused, "not_running", message)
                .hint(format!("lane program ls {}", of.name)));
        };
        engine.stop_instance(row.instance.id, caller.request).await?;
        done(&engine, &of, &instance, "stopped").await
    });
    Ok(Json(stopped.await?))
}

/// Start the instance `default`; it is made if there is none.
#[utoipa::path(
    post,
    path = routes::DEFAULT_START,
    operation_id = "start_default_instance",
    tag = "programs",
    request_body = Option<StartInstance>,
    responses((status = 202, body = InstanceDone)),
)]
pub(super) async fn start_default(
    engine: State<Engine>,
    caller: Caller,
    path: InPath,
    wanted: Optional<StartInstance>,
) -> Result<(StatusCode, Json<InstanceDone>), Failure> {
    start(engine, caller, path, wanted).await
}

/// Stop the instance `default`, and wait until nothing of it runs.
#[utoipa::path(
    post,
    path = routes::DEFAULT_STOP,
    operation_id = "stop_default_instance",
    tag = "programs",
    responses((status = 200, body = InstanceDone)),
)]
pub(super) async fn stop_default(
    engine: State<Engine>,
    caller: Caller,
    path: InPath,
) -> Result<Json<InstanceDone>, Failure> {
    stop(engine, caller, path).await
}

async fn done(
    engine: &Engine,
    of: &ProgramAsked,
    instance: &InstanceName,
    what: &str,
) -> Result<InstanceDone, Problem> {
    let status = engine.instance_or_none(of, instance).await?;
    Ok(InstanceDone { message: format!("Instance {instance} {what}"), status })
}

/// Forget an instance that does not run, with its state folder.
#[utoipa::path(
    delete,
    path = routes::INSTANCE,
    operation_id = "remove_instance",
    tag = "programs",
    responses((status = 200, body = InstanceRemoved)),
)]
pub(super) async fn remove(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, instance }: InPath,
) -> Result<Json<InstanceRemoved>, Failure> {
    let removed = detached(async move {
        let of = engine.program(&caller.cwd, which, caller.request).await?;
        let row = engine.instance_row(&of, &instance).await?;
        let row = row.ok_or_else(|| no_such_instance(&of, &instance))?;
        let message = engine.remove_instance(row.instance, caller.request).await?;
        Ok(InstanceRemoved { message })
    });
    Ok(Json(removed.await?))
}

/// Set an instance: what is left out stays as it is.
#[utoipa::path(
    post,
    path = routes::INSTANCE_CONFIG,
    operation_id = "configure_instance",
    tag = "programs",
    request_body = ConfigureInstance,
    responses((status = 200, body = InstanceConfigured)),
)]
pub(super) async fn configure(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, instance }: InPath,
    Json(wanted): Json<ConfigureInstance>,
) -> Result<Json<InstanceConfigured>, Failure> {
    let configured = detached(async move {
        let of = engine.program(&caller.cwd, which, caller.request).await?;
        let row = engine.instance_row(&of, &instance).await?;
        let row = row.ok_or_else(|| no_such_instance(&of, &instance))?;
        let config = engine.configure_instance(&row, wanted.into(), caller.request).await?;
        Ok(InstanceConfigured { success: true, config: config.into() })
    });
    Ok(Json(configured.await?))
}

/// What the instances of a program have done, the latest first.
#[utoipa::path(
    get,
    path = routes::HISTORY,
    operation_id = "list_instance_runs",
    tag = "programs",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 50, description = "How many at most; 20 if it is left out.")),
    responses((status = 200, body = Vec<InstanceRunView>)),
)]
pub(super) async fn history(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, .. }: InPath,
    Query(wanted): Query<ReadHistory>,
) -> Result<Json<Vec<InstanceRunView>>, Failure> {
    let limit = wanted.limit.unwrap_or(USUAL_HISTORY);
    if !(1..=MAX_HISTORY).contains(&limit) {
        return Err(bad_field("limit", &format!("it is {limit}, and can be 1 to {MAX_HISTORY}")));
    }
    let of = engine.program(&caller.cwd, which, caller.request).await?;
    let runs = engine.read(move |store| store.instance_runs(of.workspace.id, &of.name, limit)).await?;
    let now = now();
    Ok(Json(runs.into_iter().map(|run| InstanceRunView::at(run, now)).collect()))
}

/// The workers of all instances of a program.
#[utoipa::path(
    get,
    path = routes::WORKERS_HEALTH,
    operation_id = "list_instance_workers",
    tag = "programs",
    responses((status = 200, body = WorkersHealth)),
)]
pub(super) async fn health(
    State(engine): State<Engine>,
    caller: Caller,
    InPath { which, .. }: InPath,
) -> Result<Json<WorkersHealth>, Failure> {
    let of = engine.program(&caller.cwd, which, caller.request).await?;
    let views = engine.instance_views(&of).await?;
    let workers: Vec<_> = views.into_iter().filter_map(|view| view.pool_status).collect();
    let pool_active = workers.iter().any(|worker| crate::engine::runs(worker.status));
    Ok(Json(WorkersHealth { workers, pool_active }))
}

fn no_such_instance(of: &ProgramAsked, instance: &InstanceName) -> Problem {
    let message = format!("there is no instance {instance} of {}", of.name);
    Problem::new(ErrorKind::NotFound, "no_such_instance", message)
        .hint(format!("lane program ls {}", of.name))
}
