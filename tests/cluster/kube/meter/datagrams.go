package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"
)

const interval = time.Millisecond

// datagram is one that was sent.
type datagram struct {
	sent     time.Time
	answered bool
}

// Datagrams is one flow of them.
type Datagrams struct {
	mutex sync.Mutex
	all   []datagram
	first int // where the measurement begins
	late  time.Duration
}

// measureDatagrams begins at once; `restart` says when the measurement proper begins.
func measureDatagrams(target netip.AddrPort, stop <-chan struct{}) (*Datagrams, error) {
	socket, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return nil, err
	}
	socket.SetReadBuffer(4 << 20)
	d := &Datagrams{}
	go d.send(socket, stop)
	go d.receive(socket)
	return d, nil
}

// send keeps to the clock: when it was held up it goes on from now, it does not make up for what it missed.
func (d *Datagrams) send(socket *net.UDPConn, stop <-chan struct{}) {
	promptly()
	packet := make([]byte, 8)
	for due := time.Now(); ; due = due.Add(interval) {
		sleepUntil(due)
		select {
		case <-stop:
			return
		default:
		}
		now := time.Now()
		late := now.Sub(due)
		if late > interval {
			due = now
		}
		d.mutex.Lock()
		binary.BigEndian.PutUint64(packet, uint64(len(d.all)))
		d.all = append(d.all, datagram{sent: now})
		d.late = max(d.late, late)
		d.mutex.Unlock()
		// What cannot be sent, for nobody is known to have the address, is lost like any other.
		socket.Write(packet)
	}
}

// receive takes the number that ends an answer.
func (d *Datagrams) receive(socket *net.UDPConn) {
	promptly()
	for buffer := make([]byte, 1500); ; {
		n, err := socket.Read(buffer)
		if err != nil || n < 8 {
			continue // "connection refused" is what an ICMP message looks like
		}
		number := binary.BigEndian.Uint64(buffer[n-8 : n])
		d.mutex.Lock()
		if number < uint64(len(d.all)) {
			d.all[number].answered = true
		}
		d.mutex.Unlock()
	}
}

// flow tells whether a hundred in a row were answered, the last few aside that are under way.
func (d *Datagrams) flow() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if len(d.all) < 150 {
		return false
	}
	for _, one := range d.all[len(d.all)-150 : len(d.all)-50] {
		if !one.answered {
			return false
		}
	}
	return true
}

func (d *Datagrams) restart() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.first, d.late = len(d.all), 0
}

func (d *Datagrams) report() Report {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	r := Report{Late: ms(d.late), Outages: []Span{}}
	var begun time.Time
	lost := 0
	end := func(at time.Time) {
		if lost > 0 {
			r.Outages = append(r.Outages, Span{At: clock(begun), Ms: ms(at.Sub(begun)), Lost: lost})
			r.Longest = max(r.Longest, ms(at.Sub(begun)))
			r.Lost += lost
			lost = 0
		}
	}
	for _, one := range d.all[d.first:] {
		r.Sent++
		if one.answered {
			r.Received++
			end(one.sent)
			continue
		}
		if lost == 0 {
			begun = one.sent
		}
		lost++
	}
	end(time.Now())
	return r
}
