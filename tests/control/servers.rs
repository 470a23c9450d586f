//! Several API servers, not all of them well.

use crate::scene::Scene;

#[tokio::test]
async fn a_dead_and_a_hung_api_server_stop_nothing() {
    let Some(mut scene) = Scene::start(3).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.cluster.api_servers[0].peer.kill();
    scene.cluster.api_servers[1].peer.pause();
    scene.sync().await;
}
