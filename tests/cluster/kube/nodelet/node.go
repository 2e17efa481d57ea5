package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

// Object is a Kubernetes object or a part of one.
type Object = map[string]any

// API is a connection to the API server with one node's certificate.
type API struct {
	server string
	client *http.Client
}

func connect(server, ca, cert, key string) *API {
	pem, err := os.ReadFile(ca)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return &API{server, &http.Client{Transport: &http.Transport{TLSClientConfig: config}}}
}

var errNotFound = errors.New("not found")

// open sends one request; the caller reads and closes the body.
func (a *API) open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if method == "PATCH" {
		request.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNotFound {
		answer.Body.Close()
		return nil, errNotFound
	}
	if answer.StatusCode >= 300 && answer.StatusCode != http.StatusConflict {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		answer.Body.Close()
		return nil, fmt.Errorf("%s %s: %s %s", method, path, answer.Status, text)
	}
	return answer.Body, nil
}

// call sends one request and decodes the answer into `result`. Conflict counts as success: the object is there.
func (a *API) call(method, path string, body, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	answer, err := a.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if result == nil {
		_, err = io.Copy(io.Discard, answer)
		return err
	}
	return json.NewDecoder(answer).Decode(result)
}

// Node is the node this process speaks for.
type Node struct {
	api                 *API
	name                string
	addresses, podCIDRs []string
	complaint           string // the last error of registering and renewing: said once
}

func (n *Node) failed(what string, err error) bool {
	said := n.complaint
	n.complaint = ""
	if err != nil {
		n.complaint = what + ": " + err.Error()
	}
	if n.complaint != "" && n.complaint != said {
		log.Print(n.complaint)
	}
	return err != nil
}

// register creates the Node, as a kubelet does once when it starts. Waits for the API server as long as it takes.
func (n *Node) register() {
	node := Object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": Object{"name": n.name, "labels": Object{"kubernetes.io/hostname": n.name, "kubernetes.io/os": "linux"}},
		"spec":     Object{"podCIDR": n.podCIDRs[0], "podCIDRs": n.podCIDRs},
	}
	for n.failed("register", n.api.call("POST", "/api/v1/nodes", node, nil)) {
		time.Sleep(50 * time.Millisecond)
	}
}

// keepReady renews the Lease, and sets the status when the Node is not Ready: the node lifecycle controller never
// takes back on its own what it concluded from a silence.
func (n *Node) keepReady(period time.Duration) {
	for {
		if n.failed("node", errors.Join(n.renew(), n.makeReady())) {
			time.Sleep(min(period, 200*time.Millisecond))
		} else {
			time.Sleep(period)
		}
	}
}

func (n *Node) makeReady() error {
	path := "/api/v1/nodes/" + n.name
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := n.api.call("GET", path, nil, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			return nil
		}
	}
	return n.api.call("PATCH", path+"/status", n.status(), nil)
}

func (n *Node) renew() error {
	const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	spec := Object{"holderIdentity": n.name, "leaseDurationSeconds": 40, "renewTime": now}
	err := n.api.call("PATCH", leases+"/"+n.name, Object{"spec": spec}, nil)
	if errors.Is(err, errNotFound) {
		lease := Object{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": Object{"name": n.name}, "spec": spec}
		err = n.api.call("POST", leases, lease, nil)
	}
	return err
}

func (n *Node) status() Object {
	// The list is keyed by type, and there are two of type InternalIP: merged element by element it would grow.
	addresses := []Object{{"$patch": "replace"}, {"type": "Hostname", "address": n.name}}
	for _, address := range n.addresses {
		addresses = append(addresses, Object{"type": "InternalIP", "address": address})
	}
	room := Object{"cpu": "8", "memory": "16Gi", "pods": "250"}
	return Object{"status": Object{
		"addresses": addresses, "capacity": room, "allocatable": room,
		"nodeInfo":   Object{"kubeletVersion": "nodelet", "operatingSystem": "linux"},
		"conditions": []Object{condition("Ready", true, "NodeletReady")},
	}}
}

func condition(kind string, holds bool, reason string) Object {
	now := time.Now().UTC().Format(time.RFC3339)
	status := map[bool]string{true: "True", false: "False"}[holds]
	return Object{"type": kind, "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now}
}
