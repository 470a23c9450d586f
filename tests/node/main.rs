//! A real node: kubelet, containerd and kube-proxy behind three API servers, brought up by `control sync` from
//! nothing but our images, and then what happens to a node in its life, under load.

mod away;
mod kubespray;
mod life;
mod scene;
