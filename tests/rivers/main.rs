//! The real `rivers` between real clients and real servers.

mod admin;
mod api_servers;
mod bulk;
mod command_line;
mod discovery;
mod encrypted;
mod etcd;
mod families;
mod faults;
mod health;
mod lease;
mod limits;
mod load;
mod memory;
mod readme;
mod rebalancing;
mod relay;
mod reload;
mod replay;
mod scene;
mod service_manager;
mod status;
mod stop;
mod tls;
mod trust;
mod upgrade;
