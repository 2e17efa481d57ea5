package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// How often something is asked on each connection.
const question = 100 * time.Millisecond

// Held is what became of the TCP connections.
type Held struct {
	// Connections that were held.
	Connections int `json:"connections"`
	// Connections that ended although nobody wanted them to: each was made anew.
	Resets int `json:"resets"`
	// When they ended, times of day.
	ResetAt []float64 `json:"reset_at"`
	// Attempts to connect that failed.
	Failures int `json:"failures"`
	// The longest wait for an answer, or for a new connection and its first answer, in ms.
	Longest float64 `json:"longest_ms"`
}

// Connections are held as long as they live, and replaced when they end.
type Connections struct {
	mutex   sync.Mutex
	held    Held
	waiting []time.Time // since when each waits for an answer; zero while it does not
	flows   []bool      // whether each has had one
}

func holdConnections(target netip.AddrPort, count int, stop <-chan struct{}) *Connections {
	c := &Connections{waiting: make([]time.Time, count), flows: make([]bool, count)}
	for i := range count {
		// Spread over the time between two questions.
		time.AfterFunc(question*time.Duration(i)/time.Duration(count), func() { c.hold(i, target.String(), stop) })
	}
	return c
}

func (c *Connections) hold(i int, target string, stop <-chan struct{}) {
	for {
		c.wait(i)
		connection, err := net.DialTimeout("tcp", target, time.Second)
		if err == nil {
			err = c.converse(i, connection, target, stop)
			connection.Close()
		} else {
			c.note(func() { c.held.Failures++ })
			time.Sleep(50 * time.Millisecond)
			continue
		}
		select {
		case <-stop:
			return
		default:
			c.note(func() {
				c.held.Resets++
				c.held.ResetAt = append(c.held.ResetAt, clock(time.Now()))
			})
		}
	}
}

// converse asks until the connection ends, or the measurement does.
func (c *Connections) converse(i int, connection net.Conn, target string, stop <-chan struct{}) error {
	reader := bufio.NewReader(connection)
	for {
		c.wait(i)
		if _, err := fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", target); err != nil {
			return err
		}
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err
		}
		c.answered(i)
		select {
		case <-stop:
			return nil
		case <-time.After(question):
		}
	}
}

// wait notes that an answer is waited for from now, if it is not waited for already.
func (c *Connections) wait(i int) {
	c.note(func() {
		if c.waiting[i].IsZero() {
			c.waiting[i] = time.Now()
		}
	})
}

func (c *Connections) answered(i int) {
	c.note(func() {
		c.held.Longest = max(c.held.Longest, ms(time.Since(c.waiting[i])))
		c.waiting[i], c.flows[i] = time.Time{}, true
	})
}

func (c *Connections) note(change func()) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change()
}

func (c *Connections) flow() bool {
	all := true
	c.note(func() {
		for _, flows := range c.flows {
			all = all && flows
		}
	})
	return all
}

func (c *Connections) restart() { c.note(func() { c.held = Held{} }) }

func (c *Connections) report() Held {
	var held Held
	c.note(func() {
		for _, since := range c.waiting {
			if !since.IsZero() {
				c.held.Longest = max(c.held.Longest, ms(time.Since(since)))
			}
		}
		held = c.held
	})
	held.Connections = len(c.flows)
	if held.ResetAt == nil {
		held.ResetAt = []float64{}
	}
	return held
}
