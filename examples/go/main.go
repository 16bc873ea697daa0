// User 42 rates movie 1 and takes the rating away: `go run . [USER]`.
package main

import (
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/vmihailenco/msgpack/v5"
)

// Trap: vmihailenco/msgpack wraps an integer that does not fit its field, without an error: a clock and a count are uint64.
type label struct {
	Replicas map[string]uint64 `msgpack:"replicas"`
	Clock    uint64            `msgpack:"clock"`
}

// Trap: without the names in tags the fields are UserID and so on, which no frontend knows.
type request struct {
	UserID  uint32  `msgpack:"user_id"`
	MovieID uint32  `msgpack:"movie_id"`
	Rating  float64 `msgpack:"rating,omitempty"`
	ID      string  `msgpack:"id,omitempty"`
	Prev    label   `msgpack:"prev"`
	Cluster string  `msgpack:"cluster,omitempty"`
}

type answer struct {
	Value struct {
		Rating float64 `msgpack:"rating"`
	} `msgpack:"value"`
	Label   label  `msgpack:"label"` // in answers, and in the errors 404 and 409
	Cluster string `msgpack:"cluster"`
}

// The session: what it has seen, and the cluster that it belongs to. Both are sent with each request.
var user, prev, cluster = uint64(42), label{Replicas: map[string]uint64{}}, ""

// A UUID of version 7 that carries a stamp above all that the session has seen: retries cost no look-up.
func newID() string {
	stamp := max(uint64(time.Now().UnixMilli())<<16, prev.Clock+1)
	high, low := stamp&^0xffff|7<<12|stamp>>4&0xfff, uint64(2)<<62|stamp&0xf<<58|rand.Uint64()>>6
	return fmt.Sprintf("%016x%016x", high, low) // an id needs no hyphens
}

func ask(broker *nats.Conn, operation string, fields request) {
	fields.UserID, fields.MovieID, fields.Prev, fields.Cluster = uint32(user), 1, prev, cluster
	// Encoded once: each retry has the same id and the same `prev`, and takes effect once.
	payload, err := msgpack.Marshal(&fields)
	for attempt := 0; err == nil && attempt < 35; attempt++ { // for a minute
		reply, silence := broker.Request("ratings.frontend."+operation, payload, 3*time.Second)
		if silence == nil {
			var body answer
			if len(reply.Data) > 0 {
				err = msgpack.Unmarshal(reply.Data, &body)
				for id, count := range body.Label.Replicas {
					prev.Replicas[id] = max(count, prev.Replicas[id])
				}
				prev.Clock, cluster = max(body.Label.Clock, prev.Clock), body.Cluster
			}
			// Trap: Request returns no error for a service error. The code in the headers tells it.
			text, code := reply.Header.Get("Nats-Service-Error"), reply.Header.Get("Nats-Service-Error-Code")
			if code == "" {
				text = fmt.Sprint(body.Value.Rating)
			}
			if code < "500" {
				fmt.Println(operation, text)
				return
			}
			silence = errors.New(text)
		} else if !errors.Is(silence, nats.ErrNoResponders) && !errors.Is(silence, nats.ErrTimeout) {
			log.Fatalln(operation, silence)
		}
		log.Println("trying again:", silence)
		time.Sleep(min(100*time.Millisecond<<min(attempt, 5), 2*time.Second))
	}
	log.Fatalln(operation, "has no answer within a minute:", err)
}

func main() {
	if len(os.Args) > 1 {
		user, _ = strconv.ParseUint(os.Args[1], 10, 32)
	}
	url := nats.DefaultURL
	if set, ok := os.LookupEnv("NATS_URL"); ok {
		url = set
	}
	broker, err := nats.Connect(url) // reads and decodes user and password in a URL
	if err != nil {
		log.Fatalln(err)
	}
	defer broker.Close()
	first := newID()
	for _, id := range []string{first, first, newID()} { // the second one is a retry: it has the answer of the first
		ask(broker, "create", request{Rating: 4.5, ID: id})
	}
	ask(broker, "read", request{})
	ask(broker, "delete", request{ID: newID()})
}
