// One session with vmihailenco/msgpack: `encoder ENCODER USER`, as session.cjs does it.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

type label struct {
	Replicas map[string]uint64 `msgpack:"replicas"`
	Clock    uint64            `msgpack:"clock"`
}

type request struct {
	UserID  uint64  `msgpack:"user_id"`
	MovieID uint64  `msgpack:"movie_id"`
	Rating  float32 `msgpack:"rating,omitempty"`
	Limit   int     `msgpack:"limit,omitempty"`
	Prev    *label  `msgpack:"prev"`
}

type reply struct {
	Value struct {
		Rating  *float64 `msgpack:"rating"`
		Ratings []struct {
			MovieID uint64 `msgpack:"movie_id"`
		} `msgpack:"ratings"`
	} `msgpack:"value"`
	Label *label `msgpack:"label"`
}

var (
	lines = bufio.NewScanner(os.Stdin)
	prev  *label
	// The same as a map of whatever type, with the label as it was decoded.
	anyPrev any
)

func encode(name string, fields request) ([]byte, error) {
	switch name {
	case "vmihailenco/msgpack with maps":
		return msgpack.Marshal(map[string]any{
			"user_id": fields.UserID, "movie_id": int(fields.MovieID), "rating": fields.Rating, "limit": 10, "prev": anyPrev,
		})
	case "vmihailenco/msgpack with lists":
		var buffer bytes.Buffer
		encoder := msgpack.NewEncoder(&buffer)
		encoder.UseArrayEncodedStructs(true)
		err := encoder.Encode(&fields)
		return buffer.Bytes(), err
	case "vmihailenco/msgpack with compact numbers":
		var buffer bytes.Buffer
		encoder := msgpack.NewEncoder(&buffer)
		encoder.UseCompactInts(true)
		encoder.UseCompactFloats(true)
		err := encoder.Encode(&fields)
		return buffer.Bytes(), err
	default:
		return msgpack.Marshal(&fields)
	}
}

func failed(text string) {
	fmt.Println("failed", strings.ReplaceAll(text, "\n", " "))
	os.Exit(1)
}

func ask(operation string, fields request) reply {
	user, _ := strconv.ParseUint(os.Args[2], 10, 32)
	fields.UserID, fields.MovieID, fields.Prev = user, 1, prev
	payload, err := encode(os.Args[1], fields)
	if err != nil {
		failed(err.Error())
	}
	fmt.Println(operation, hex.EncodeToString(payload))
	lines.Scan()
	answer, err := hex.DecodeString(lines.Text())
	if err != nil || len(answer) == 0 {
		failed(operation + ": " + lines.Text())
	}
	var decoded reply
	var decodedAny map[string]any
	if err := msgpack.Unmarshal(answer, &decoded); err != nil {
		failed(err.Error())
	}
	if err := msgpack.Unmarshal(answer, &decodedAny); err != nil {
		failed(err.Error())
	}
	prev, anyPrev = decoded.Label, decodedAny["label"]
	return decoded
}

func rated(operation string, fields request, expected float64) {
	if answer := ask(operation, fields); answer.Value.Rating == nil || *answer.Value.Rating != expected {
		failed(operation + ": another rating")
	}
}

func main() {
	lines.Buffer(nil, 1<<20)
	rated("create", request{Rating: 4}, 4)
	rated("read", request{}, 4)
	rated("update", request{Rating: 2.5}, 2.5)
	rated("read", request{}, 2.5)
	if page := ask("all", request{Limit: 10}); len(page.Value.Ratings) != 1 || page.Value.Ratings[0].MovieID != 1 {
		failed("another page")
	}
	rated("delete", request{}, 2.5)
	if answer := ask("read", request{}); answer.Value.Rating != nil {
		failed("still there")
	}
	fmt.Println("done")
}
