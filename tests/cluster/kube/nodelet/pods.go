package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// readyAnnotation set to "false" makes a running Pod not Ready, as a failing readiness probe would.
const readyAnnotation = "nodelet/ready"

// Pod is what a kubelet reads of a Pod.
type Pod struct {
	Metadata struct {
		Namespace, Name, UID, ResourceVersion string
		Annotations                           map[string]string
		DeletionTimestamp                     *time.Time
		DeletionGracePeriodSeconds            int
	}
	Spec struct {
		HostNetwork bool
		Containers  []struct {
			Name, Image string
			Lifecycle   struct {
				PreStop struct{ Sleep struct{ Seconds int } }
			}
			Ports []struct {
				ContainerPort int
				Protocol      string
			}
		}
	}
	Status struct {
		Conditions []struct{ Type, Status string }
	}
}

// saysReady tells whether the API server has the Pod for Ready: while the node was silent somebody may have written that it is not.
func (p *Pod) saysReady() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (p *Pod) path() string {
	return "/api/v1/namespaces/" + p.Metadata.Namespace + "/pods/" + p.Metadata.Name
}

// Running is a Pod this node has taken up.
type Running struct {
	pod       Pod
	addresses []string
	process   *os.Process // its server; nil on the host's network, where others start the process
	reported  string      // the status last written
	ready     bool        // what it said
	stopAt    time.Time   // when a Pod that is being deleted is killed; zero while it is not
}

// Pods runs the Pods bound to one node.
type Pods struct {
	api     *API
	node    *Node
	pids    string
	running map[string]*Running // by uid
	next    int                 // offset of the next Pod's addresses in the node's ranges
}

// event is one change of a Pod, or a whole list of them (with `all`).
type event struct {
	all  bool
	gone bool
	pods []Pod
}

func (p *Pods) run() {
	p.running, p.next = map[string]*Running{}, 2
	events := make(chan event, 100)
	go p.watch(events)
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case e := <-events:
			p.apply(e)
		case <-tick.C:
		}
		for uid, r := range p.running {
			p.stopIfDue(uid, r)
			p.report(r)
		}
	}
}

// watch follows the Pods of this node: a list, then changes; from the start again whenever that ends.
func (p *Pods) watch(events chan<- event) {
	const bound = "/api/v1/pods?fieldSelector=spec.nodeName%3D"
	for ; ; time.Sleep(200 * time.Millisecond) {
		var list struct {
			Metadata struct{ ResourceVersion string }
			Items    []Pod
		}
		if err := p.api.call("GET", bound+p.node.name, nil, &list); err != nil {
			log.Print("pods: ", err)
			continue
		}
		events <- event{all: true, pods: list.Items}
		// The server ends the watch after 20 s; the client a little later if it could not.
		ctx, cancel := context.WithTimeout(context.Background(), 22*time.Second)
		path := bound + p.node.name + "&watch=1&timeoutSeconds=20&resourceVersion=" + list.Metadata.ResourceVersion
		stream, err := p.api.open(ctx, "GET", path, nil)
		if err == nil {
			for decoder := json.NewDecoder(stream); ; {
				var change struct {
					Type   string
					Object Pod
				}
				if decoder.Decode(&change) != nil || change.Type == "ERROR" {
					break
				}
				events <- event{gone: change.Type == "DELETED", pods: []Pod{change.Object}}
			}
			stream.Close()
		}
		cancel()
	}
}

func (p *Pods) apply(e event) {
	listed := map[string]bool{}
	for _, pod := range e.pods {
		uid := pod.Metadata.UID
		listed[uid] = true
		r := p.running[uid]
		switch {
		case e.gone:
			p.forget(uid)
		case r != nil:
			r.pod = pod
			if r.ready && !pod.saysReady() {
				r.reported = "by others"
			}
		case pod.Metadata.DeletionTimestamp != nil: // never taken up: nothing to stop
			p.delete(&pod)
		default:
			r, err := p.start(pod)
			if err != nil {
				log.Printf("pod %s: %v", pod.Metadata.Name, err)
				continue
			}
			p.running[uid] = r
		}
	}
	for uid := range p.running {
		if e.all && !listed[uid] {
			p.forget(uid)
		}
	}
}

// start gives a Pod its namespace, addresses and server. The namespace has no name: it lives and ends with the server.
func (p *Pods) start(pod Pod) (*Running, error) {
	if pod.Spec.HostNetwork {
		return &Running{pod: pod, addresses: p.node.addresses}, nil
	}
	var addresses, ports []string
	for _, cidr := range p.node.podCIDRs {
		address := netip.MustParsePrefix(cidr).Addr()
		for range p.next {
			address = address.Next()
		}
		addresses = append(addresses, address.String())
	}
	link := fmt.Sprintf("pod%d", p.next)
	p.next++
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			ports = append(ports, fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol))
		}
	}
	if len(ports) == 0 {
		ports = []string{"80/TCP"}
	}
	server := exec.Command("/proc/self/exe", "serve", "--pod", pod.Metadata.Name, "--node", p.node.name,
		"--addresses", strings.Join(addresses, ","), "--ports", strings.Join(ports, ","))
	server.Stderr = os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	wired, err := server.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	go server.Wait()
	// Scope link: never chosen as a source address, which for a masqueraded client is the node's own.
	lines := []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", link, server.Process.Pid),
		fmt.Sprintf("addr add 169.254.1.1/32 dev %s scope link", link),
		fmt.Sprintf("addr add fe80::1/64 dev %s nodad", link),
		fmt.Sprintf("link set %s up", link),
	}
	for _, address := range addresses {
		lines = append(lines, fmt.Sprintf("route add %s dev %s", address, link))
	}
	if err := ip(lines); err != nil {
		server.Process.Kill()
		return nil, err
	}
	fmt.Fprintln(wired, "wired")
	wired.Close()
	log.Printf("pod %s: %v, ports %v", pod.Metadata.Name, addresses, ports)
	return &Running{pod: pod, addresses: addresses, process: server.Process}, nil
}

// alive tells whether the Pod's process runs: a zombie that nobody has collected yet does not.
func (p *Pods) alive(r *Running) bool {
	process := p.processOf(r)
	if process == nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// pidFile holds the process of a Pod on the host's network. Others write it; it goes when the Pod goes.
func (p *Pods) pidFile(r *Running) string {
	return p.pids + "/" + r.pod.Metadata.Namespace + "." + r.pod.Metadata.Name
}

func (p *Pods) processOf(r *Running) *os.Process {
	if r.process != nil {
		return r.process
	}
	text, err := os.ReadFile(p.pidFile(r))
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	process, _ := os.FindProcess(pid)
	return process
}

// stopIfDue ends a Pod that is being deleted: after its preStop sleep SIGTERM, after its grace period SIGKILL.
func (p *Pods) stopIfDue(uid string, r *Running) {
	meta := &r.pod.Metadata
	if meta.DeletionTimestamp == nil {
		return
	}
	grace := time.Duration(meta.DeletionGracePeriodSeconds) * time.Second
	if r.stopAt.IsZero() {
		r.stopAt = time.Now().Add(grace)
	}
	rest := 0
	for _, c := range r.pod.Spec.Containers {
		rest = max(rest, c.Lifecycle.PreStop.Sleep.Seconds)
	}
	elapsed := grace - time.Until(r.stopAt)
	process := p.processOf(r)
	switch {
	case p.alive(r) && elapsed >= grace:
		process.Kill()
	case p.alive(r) && elapsed >= time.Duration(rest)*time.Second:
		process.Signal(syscall.SIGTERM)
	case !p.alive(r):
		os.Remove(p.pidFile(r))
		p.delete(&r.pod)
		p.forget(uid)
	}
}

// delete tells the API server that nothing of the Pod is left.
func (p *Pods) delete(pod *Pod) {
	options := Object{"gracePeriodSeconds": 0, "preconditions": Object{"uid": pod.Metadata.UID}}
	if err := p.api.call("DELETE", pod.path(), options, nil); err != nil && err != errNotFound {
		log.Printf("pod %s: %v", pod.Metadata.Name, err)
	}
}

func (p *Pods) forget(uid string) {
	if r := p.running[uid]; r != nil && r.process != nil {
		r.process.Kill()
	}
	delete(p.running, uid)
}

// report writes the Pod's status when it has changed.
func (p *Pods) report(r *Running) {
	alive := p.alive(r)
	ready := alive && r.pod.Metadata.Annotations[readyAnnotation] != "false"
	state := fmt.Sprint(alive, ready)
	if state == r.reported || !alive && r.reported == "" { // not started yet: stays Pending
		return
	}
	var ips, hosts, containers []Object
	for _, address := range r.addresses {
		ips = append(ips, Object{"ip": address})
	}
	for _, address := range p.node.addresses {
		hosts = append(hosts, Object{"ip": address})
	}
	now := time.Now().UTC().Format(time.RFC3339)
	does := Object{"running": Object{"startedAt": now}}
	if !alive {
		does = Object{"terminated": Object{"exitCode": 137, "reason": "Ended"}}
	}
	for _, c := range r.pod.Spec.Containers {
		containers = append(containers, Object{"name": c.Name, "image": c.Image, "imageID": "", "ready": ready, "started": alive,
			"restartCount": 0, "state": does})
	}
	conditions := []Object{condition("Ready", ready, ""), condition("ContainersReady", ready, ""), condition("Initialized", true, "")}
	for _, c := range conditions {
		delete(c, "lastHeartbeatTime")
	}
	status := Object{"phase": "Running", "startTime": now, "hostIP": p.node.addresses[0], "hostIPs": hosts,
		"podIP": r.addresses[0], "podIPs": ips, "conditions": conditions, "containerStatuses": containers}
	patch := Object{"metadata": Object{"uid": r.pod.Metadata.UID}, "status": status}
	switch err := p.api.call("PATCH", r.pod.path()+"/status", patch, nil); err {
	case nil, errNotFound:
		r.reported, r.ready = state, ready
	default:
		log.Printf("pod %s: %v", r.pod.Metadata.Name, err)
	}
}
