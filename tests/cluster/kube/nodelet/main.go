// nodelet does a kubelet's duties towards the API server for one node that is a network namespace.
//
// A kubelet cannot run there: it wants cgroups and a container runtime of its own. What the rest of Kubernetes sees of
// a kubelet is little, and that is what is here, with the node's own certificate and under the node's own rights:
//
//   - the Node: registered at start, once; its Lease renewed every second; its status set Ready again when it is not
//     (main.go, node.go);
//   - the Pods bound to the node: each gets a network namespace, the next addresses of the node's pod ranges and, in
//     place of whatever image it names, a small server for its container ports; then its status says Running and
//     Ready, so that the genuine EndpointSlice controller makes the endpoints (pods.go, serve.go).
//
// It runs inside the node's namespace, so a node that is cut off falls silent like a real one. Its Pods end with it;
// to silence a kubelet and keep its Pods, stop it with SIGSTOP. Nothing but Go's standard library and `ip`.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"strings"
	"time"
)

const usage = `nodelet speaks for a node that has no kubelet.

  nodelet run --node NAME --addresses A,B --pod-cidrs A,B --server URL --ca FILE --cert FILE --key FILE
              [--renew 1s] [--pids DIRECTORY]
      Registers the node, renews its Lease, keeps it Ready, and runs the Pods bound to it. Pods of the host's network
      are started by others, who write the process id to DIRECTORY/NAMESPACE.POD; their status follows that process.

  nodelet serve --pod NAME --node NAME --addresses A,B --ports 80/TCP,53/UDP
      What a Pod does: waits for a line on its standard input, sets up eth0, answers each request with who it is and
      whom it sees.
`

func main() {
	// A Pod dies with the thread that made it: all are made here, and this thread lives as long as the process.
	runtime.LockOSThread()
	log.SetFlags(log.Lmicroseconds)
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	node := flags.String("node", "", "")
	addresses := flags.String("addresses", "", "")
	switch os.Args[1] {
	case "run":
		podCIDRs := flags.String("pod-cidrs", "", "")
		server := flags.String("server", "", "")
		ca, cert, key := flags.String("ca", "", ""), flags.String("cert", "", ""), flags.String("key", "", "")
		renew := flags.Duration("renew", time.Second, "")
		pids := flags.String("pids", "", "")
		flags.Parse(os.Args[2:])
		api := connect(*server, *ca, *cert, *key)
		n := &Node{api: api, name: *node, addresses: strings.Split(*addresses, ","), podCIDRs: strings.Split(*podCIDRs, ",")}
		n.register()
		go n.keepReady(*renew)
		(&Pods{api: api, node: n, pids: *pids}).run()
	case "serve":
		pod, ports := flags.String("pod", "", ""), flags.String("ports", "80/TCP", "")
		flags.Parse(os.Args[2:])
		serve(*pod, *node, strings.Split(*addresses, ","), strings.Split(*ports, ","))
	default:
		flags.Usage()
		os.Exit(2)
	}
}
