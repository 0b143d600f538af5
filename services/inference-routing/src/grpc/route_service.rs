use chrono::{DateTime, Utc};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wanwu_access::caller;
use wanwu_grpc::status;
use wanwu_proto::inference::v1::{
    DeleteRouteRequest, DeleteRouteResponse, ListRoutesRequest, ListRoutesResponse,
    PutRouteRequest, PutRouteResponse, Route, RouteMirror, RouteTarget,
    route_service_server::RouteService,
};

use super::Handlers;
use crate::{
    commands::routes::{delete_route, put_route},
    domain::route::{self, Mirror, Target},
    error::Error,
    store::{
        routes::{KeptRoute, in_force},
        usage_events::timestamp,
    },
};

#[tonic::async_trait]
impl RouteService for Handlers {
    async fn put_route(
        &self,
        request: Request<PutRouteRequest>,
    ) -> Result<Response<PutRouteResponse>, Status> {
        let operator = caller(&request)?.operator_id()?;
        let message = request.into_inner();
        let route = read(message.route.unwrap_or_default()).map_err(|error| status(&error))?;
        let (expected, now) = (message.expected_version, self.chat.clock.now());
        let catalogue = &self.chat.catalogue;
        let kept = put_route(&self.pool, catalogue, operator, route, expected, now).await;
        let kept = kept.map_err(|error| status(&error))?;
        Ok(Response::new(PutRouteResponse {
            route: Some(kept.into()),
        }))
    }

    async fn delete_route(
        &self,
        request: Request<DeleteRouteRequest>,
    ) -> Result<Response<DeleteRouteResponse>, Status> {
        let operator = caller(&request)?.operator_id()?;
        let DeleteRouteRequest {
            name,
            expected_version,
        } = request.into_inner();
        let now = self.chat.clock.now();
        let deleted = delete_route(&self.pool, operator, &name, expected_version, now).await;
        deleted.map_err(|error| status(&error))?;
        Ok(Response::new(DeleteRouteResponse {}))
    }

    async fn list_routes(
        &self,
        _request: Request<ListRoutesRequest>,
    ) -> Result<Response<ListRoutesResponse>, Status> {
        let kept = in_force(&self.pool).await;
        let kept = kept.map_err(|error| status(&Error::from(error)))?;
        Ok(Response::new(ListRoutesResponse {
            routes: kept.into_iter().map(Into::into).collect(),
        }))
    }
}

fn read(message: Route) -> Result<route::Route, Error> {
    // What is below 0 is out of bounds as 0 is.
    let unsigned = |number: i32| u32::try_from(number).unwrap_or_default();
    let allowed = message.allowed_account_ids.iter().map(|id| id.parse());
    let allowed = allowed.collect::<Result<Vec<Uuid>, _>>();
    Ok(route::Route {
        name: message.name,
        targets: message
            .targets
            .into_iter()
            .map(|target| Target {
                model: target.model,
                weight: unsigned(target.weight),
            })
            .collect(),
        fallbacks: message.fallbacks,
        mirror: message.mirror.map(|mirror| Mirror {
            model: mirror.model,
            per_mille: unsigned(mirror.per_mille),
        }),
        allowed: allowed.map_err(|_| invalid("route.allowed_account_ids", "must be UUIDs"))?,
        deprecated_at: message
            .deprecation_time
            .map(|time| instant("route.deprecation_time", time))
            .transpose()?,
        ends_at: message
            .end_time
            .map(|time| instant("route.end_time", time))
            .transpose()?,
    })
}

fn instant(field: &'static str, time: prost_types::Timestamp) -> Result<DateTime<Utc>, Error> {
    u32::try_from(time.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .ok_or_else(|| invalid(field, "is no instant"))
}

fn invalid(field: &'static str, problem: &str) -> Error {
    Error::InvalidArgument {
        field,
        problem: problem.to_owned(),
    }
}

impl From<KeptRoute> for Route {
    fn from(KeptRoute { route, version }: KeptRoute) -> Self {
        let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Self {
            name: route.name,
            targets: route
                .targets
                .into_iter()
                .map(|target| RouteTarget {
                    model: target.model,
                    weight: signed(target.weight),
                })
                .collect(),
            fallbacks: route.fallbacks,
            mirror: route.mirror.map(|mirror| RouteMirror {
                model: mirror.model,
                per_mille: signed(mirror.per_mille),
            }),
            allowed_account_ids: route.allowed.iter().map(Uuid::to_string).collect(),
            deprecation_time: route.deprecated_at.map(timestamp),
            end_time: route.ends_at.map(timestamp),
            version,
        }
    }
}
