// meter measures what a client on the LAN sees of one Service address while things go wrong around it.
//
// It sends a numbered datagram every millisecond, to Pods that send the number back, and holds TCP connections on which it
// asks ten times a second. With --who it also asks the LAN, a hundred times a second and as a machine of its own, who has the
// address: the client's kernel learns nothing from these answers, so the measurement does not heal what it measures.
//
// An outage is counted by the times of sending, from the first datagram that was lost to the next one that was answered: what
// a busy machine adds is then a late packet and no outage. The sender runs with real-time priority for the same reason, and
// reports by how much it was late all the same.
//
//	meter --to 10.77.0.240 [--port 80] [--connections 20] [--who eth0]
//
// Prints {"running":true} when traffic flows everywhere, measures until its standard input ends, waits half a second for
// answers that are under way, and prints one line of JSON. Times of day are milliseconds since 1970.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// Report is what is printed at the end.
type Report struct {
	Sent     int `json:"sent"`
	Received int `json:"received"`
	Lost     int `json:"lost"`
	// The longest outage in ms; 0 if nothing was lost.
	Longest float64 `json:"longest_ms"`
	Outages []Span  `json:"outages"`
	// By how many ms the sender itself was late at most.
	Late float64 `json:"late_ms"`
	TCP  Held    `json:"tcp"`
	// Who answered for the address: by hardware address, in order. Only with --who.
	Who []Answerer `json:"who"`
	// For how many ms at most two machines answered at once.
	Two float64 `json:"two_ms"`
}

// Span is a stretch of time.
type Span struct {
	At   float64 `json:"at"` // time of day
	Ms   float64 `json:"ms"`
	Lost int     `json:"lost"` // datagrams
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("meter: ")
	to := flag.String("to", "", "the Service's address")
	port := flag.Uint("port", 80, "its port, UDP and TCP")
	connections := flag.Int("connections", 20, "TCP connections to hold")
	who := flag.String("who", "", "ask on this interface who has the address")
	flag.Parse()
	address, err := netip.ParseAddr(*to)
	if err != nil {
		log.Fatal(err)
	}
	target := netip.AddrPortFrom(address, uint16(*port))
	stop := make(chan struct{})

	datagrams, err := measureDatagrams(target, stop)
	if err != nil {
		log.Fatal(err)
	}
	held := holdConnections(target, *connections, stop)
	asked := &Asked{}
	if *who != "" {
		if asked, err = askTheLAN(address, *who, stop); err != nil {
			log.Fatal(err)
		}
	}
	for !datagrams.flow() || !held.flow() {
		time.Sleep(5 * time.Millisecond)
	}
	datagrams.restart()
	held.restart()
	fmt.Println(`{"running":true}`)
	io.Copy(io.Discard, os.Stdin)
	close(stop)
	time.Sleep(500 * time.Millisecond)

	report := datagrams.report()
	report.TCP = held.report()
	report.Who, report.Two = asked.report()
	json.NewEncoder(os.Stdout).Encode(report)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func clock(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// promptly gives the calling goroutine a thread of its own with real-time priority, where the kernel allows it.
func promptly() {
	runtime.LockOSThread()
	priority := int32(10)
	const fifo = 1
	syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&priority)))
}
