package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// serve is the process of a Pod: HTTP on TCP ports, one datagram for each on UDP ports, with what was in it at the end.
func serve(pod, node string, addresses, ports []string) {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		log.Fatal("serve: nobody wired this namespace: ", err)
	}
	// Else IPv6 addresses could not be used for a second or two.
	os.WriteFile("/proc/sys/net/ipv6/conf/eth0/accept_dad", []byte("0"), 0)
	lines := []string{"link set lo up", "link set eth0 up"}
	for _, address := range addresses {
		lines = append(lines, "addr add "+address+" dev eth0")
	}
	lines = append(lines, "route add 169.254.1.1 dev eth0", "route add default via 169.254.1.1", "route add default via fe80::1 dev eth0")
	if err := ip(lines); err != nil {
		log.Fatal("serve: ", err)
	}
	failed := make(chan error)
	for _, port := range ports {
		number, protocol, _ := strings.Cut(port, "/")
		if protocol == "UDP" {
			go func() { failed <- answerDatagrams(pod, node, ":"+number) }()
		} else {
			go func() { failed <- http.ListenAndServe(":"+number, answer(pod, node)) }()
		}
	}
	log.Fatal("serve: ", <-failed)
}

// who is the one line that every answer consists of.
func who(pod, node, client string) string {
	host, _, _ := net.SplitHostPort(client)
	return fmt.Sprintf("pod=%s node=%s client=%s\n", pod, node, strings.TrimPrefix(host, "::ffff:"))
}

func answer(pod, node string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, who(pod, node, r.RemoteAddr)) }
}

func answerDatagrams(pod, node, address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	// Under a thousand datagrams a second none is to be lost here, however busy the machine is.
	if raw, err := socket.(*net.UDPConn).SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 4<<20) })
	}
	for buffer := make([]byte, 1500); ; {
		n, client, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		socket.WriteTo(append([]byte(who(pod, node, client.String())), buffer[:n]...), client)
	}
}

// ip runs commands of `ip`, one a line, in this process's network namespace.
func ip(lines []string) error {
	command := exec.Command("ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, output)
	}
	return nil
}
