//go:build tools

// Package tools names the commands that ../build builds, so that go.mod and
// go.sum hold what they need.
package tools

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
