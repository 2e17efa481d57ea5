package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	asking = 10 * time.Millisecond
	// Who has been silent for so long has stopped answering: several questions, for a busy machine may hold one answer up.
	silent = 5 * asking
)

// Answerer is a machine that answered from one time of day to another.
type Answerer struct {
	MAC  string  `json:"mac"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Asked is what the LAN answered.
type Asked struct {
	mutex sync.Mutex
	spans []span
}

type span struct {
	mac      [6]byte
	from, to time.Time
}

// We ask under a hardware address of our own, beside the client's kernel: the switch brings the answers to this port, and the
// kernel ignores what is not for it.
var (
	ourMAC  = []byte{0x02, 0x77, 0xff, 0x00, 0x00, 0x64}
	ourIPv4 = []byte{10, 77, 0, 99}
	ourIPv6 = netip.MustParseAddr("fe80::77:ffff:fe00:64").AsSlice()
)

func askTheLAN(address netip.Addr, link string, stop <-chan struct{}) (*Asked, error) {
	device, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", link, err)
	}
	question, protocol, answer := arpQuestion(address), uint16(syscall.ETH_P_ARP), arpAnswer
	if address.Is6() {
		question, protocol, answer = ndpQuestion(address), syscall.ETH_P_IPV6, ndpAnswer
	}
	// Network byte order, as the kernel wants it.
	network := protocol<<8 | protocol>>8
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(network))
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrLinklayer{Protocol: network, Ifindex: device.Index}); err != nil {
		return nil, fmt.Errorf("%s: %w", link, err)
	}
	a := &Asked{}
	go func() {
		for due := time.Now(); ; due = due.Add(asking) {
			sleepUntil(due)
			select {
			case <-stop:
				return
			default:
				syscall.Write(socket, question)
			}
		}
	}()
	go func() {
		for buffer := make([]byte, 1600); ; {
			n, err := syscall.Read(socket, buffer)
			if err == nil && n >= 42 && bytes.Equal(buffer[:6], ourMAC) && answer(buffer[:n], address) {
				a.heard([6]byte(buffer[6:12]), time.Now())
			}
		}
	}()
	return a, nil
}

func (a *Asked) heard(mac [6]byte, now time.Time) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for i := len(a.spans) - 1; i >= 0; i-- {
		if one := &a.spans[i]; one.mac == mac {
			if now.Sub(one.to) < silent {
				one.to = now
				return
			}
			break
		}
	}
	a.spans = append(a.spans, span{mac: mac, from: now, to: now})
}

func (a *Asked) report() ([]Answerer, float64) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	who, two := []Answerer{}, time.Duration(0)
	for i, one := range a.spans {
		who = append(who, Answerer{MAC: net.HardwareAddr(one.mac[:]).String(), From: clock(one.from), To: clock(one.to)})
		for _, other := range a.spans[:i] {
			from, to := later(one.from, other.from), earlier(one.to, other.to)
			if one.mac != other.mac {
				two = max(two, to.Sub(from))
			}
		}
	}
	return who, ms(two)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func arpQuestion(address netip.Addr) []byte {
	frame := append(bytes.Repeat([]byte{0xff}, 6), ourMAC...)
	frame = append(frame, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(append(frame, ourMAC...), ourIPv4...)
	return append(append(frame, make([]byte, 6)...), address.AsSlice()...)
}

func arpAnswer(frame []byte, address netip.Addr) bool {
	return frame[21] == 2 && bytes.Equal(frame[28:32], address.AsSlice())
}

// ndpQuestion is a Neighbor Solicitation to the solicited-node group.
func ndpQuestion(address netip.Addr) []byte {
	target := address.AsSlice()
	group := append([]byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}, target[13:]...)
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target...)
	message = append(append(message, 1, 1), ourMAC...)
	pseudo := append(append([]byte{}, ourIPv6...), group...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	frame := append([]byte{0x33, 0x33}, group[12:]...)
	frame = append(append(frame, ourMAC...), 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), 58, 255)
	return append(append(append(frame, ourIPv6...), group...), message...)
}

func ndpAnswer(frame []byte, address netip.Addr) bool {
	return len(frame) >= 78 && frame[20] == 58 && frame[54] == 136 && bytes.Equal(frame[62:78], address.AsSlice())
}

func checksum(bytes []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(bytes); i += 2 {
		sum += uint32(bytes[i])<<8 | uint32(bytes[i+1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// sleepUntil sleeps in the kernel: Go's own timers are not finer than a millisecond.
func sleepUntil(due time.Time) {
	for rest := time.Until(due); rest > 0; rest = time.Until(due) {
		span := syscall.NsecToTimespec(rest.Nanoseconds())
		syscall.Nanosleep(&span, nil)
	}
}
