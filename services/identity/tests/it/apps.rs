use sqlx::PgPool;
use tonic::Code;
use wanwu_proto::identity::v1::{
    CreateAppRequest, ListAppsRequest, app_service_server::AppService,
};

use crate::world::{PHONE, World};

#[sqlx::test]
async fn an_app_is_not_named_by_our_brand(pool: PgPool) {
    let world = World::new(pool).await;
    let (account_id, _) = world.registered(PHONE).await;
    let create = async |name: &str| {
        let request = CreateAppRequest {
            request_id: world.request_id(),
            name: name.to_owned(),
        };
        world.api.create_app(world.by(account_id, request)).await
    };
    for brand in ["世纪互联助手", "世纪 互联", "VNET-bot"] {
        let refused = create(brand).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{brand}");
    }
    create("灵犀").await.unwrap();
    let list = world.by(account_id, ListAppsRequest::default());
    let list = world.api.list_apps(list).await.unwrap().into_inner();
    let names: Vec<_> = list.apps.into_iter().map(|app| app.name).collect();
    assert_eq!(names, ["灵犀"]);
}
