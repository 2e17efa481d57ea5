// kube is a whole Kubernetes control plane in one program, for the cluster tests and the demo.
//
// It holds the genuine main functions of etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kube-proxy and kubectl, unchanged, and picks one by the name it is called by (a symbolic link) or by its
// first argument. One program instead of six shares most of the build and of the memory: the programs have
// nine tenths of their packages in common. `scripts/kube.sh` builds and caches it; the versions are pinned
// in go.mod. There is no kubelet: nodes are network namespaces, and `nodelet` beside this file speaks for them.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if name != "etcd" && programs[name] == nil && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, found := programs[name]
	if !found {
		names := []string{"etcd"}
		for known := range programs {
			names = append(names, known)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "kube: no program %q; say one of %v as the first argument or by a link of that name\n", name, names)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}
