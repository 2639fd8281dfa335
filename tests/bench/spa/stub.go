// An S3 server that answers at once and keeps no bytes (all of its files are blanks): it shows how fast a copier is
// when the service costs next to nothing.
//
// The bucket named by -source holds every version of every build. A version's name begins
// with its number of files, as in 20000-a: index.html, the rest assets/chunk-0000000.js
// and so on. What is copied into any other bucket is remembered.
//
// GET /-/begin sets the counts to zero, GET /-/report tells them, GET /-/empty forgets
// all copies.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	page   = 1000
	size   = 4096
	moment = "2026-01-01T00:00:00.000Z"
	asset  = "assets/chunk-%07d.js"
	entry  = "index.html"
)

// ends are the requests that came to one end.
type ends struct {
	All     int `json:"all"`
	Changes int `json:"changes"`
}

// report has the seconds between the first copy of an asset that was asked for and the
// last one that was answered.
type report struct {
	Source      ends    `json:"source"`
	Destination ends    `json:"destination"`
	Copies      int     `json:"copies"`
	Seconds     float64 `json:"copy_seconds"`
}

type server struct {
	source string
	lock   sync.Mutex
	copied map[string][]bool // by bucket/version/: which of its files are there
	counts report
	first  time.Time
}

type request struct {
	method, path, query string
	headers             map[string]string
}

// The headers that mean something here; others are skipped.
var known = []string{"connection", "content-length", "if-match", "if-none-match",
	"x-amz-copy-source", "x-amz-copy-source-if-match"}

func main() {
	source := flag.String("source", "", "the bucket that holds everything")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	stub := &server{source: *source, copied: map[string][]bool{}}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go stub.serve(connection)
	}
}

func (s *server) serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 16384)
	var answer bytes.Buffer
	for {
		asked, err := read(reader)
		if err != nil {
			return
		}
		answer.Reset()
		s.answer(asked, &answer)
		if _, err := connection.Write(answer.Bytes()); err != nil {
			return
		}
		if asked.headers["connection"] == "close" {
			return
		}
	}
}

func read(reader *bufio.Reader) (*request, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return nil, fmt.Errorf("no request: %q", line)
	}
	asked := &request{method: words[0], headers: map[string]string{}}
	asked.path, asked.query, _ = strings.Cut(words[1], "?")
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		name, value, found := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		if !found {
			break
		}
		for _, one := range known {
			if len(one) == len(name) && strings.EqualFold(one, string(name)) {
				asked.headers[one] = string(bytes.TrimSpace(value))
			}
		}
	}
	length, _ := strconv.Atoi(asked.headers["content-length"])
	_, err = reader.Discard(length)
	return asked, err
}

func (s *server) answer(asked *request, to *bytes.Buffer) {
	if word, found := strings.CutPrefix(asked.path, "/-/"); found {
		s.control(word, to)
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(asked.path, "/"), "/")
	s.lock.Lock()
	defer s.lock.Unlock()
	s.count(bucket, asked.method)
	if key == "" {
		s.list(bucket, asked.query, to)
		return
	}
	key, err := url.PathUnescape(key)
	if err != nil {
		refuse(to, "400 Bad Request", "InvalidURI")
		return
	}
	prefix, number, found := find(key)
	switch from := asked.headers["x-amz-copy-source"]; {
	case !found:
		refuse(to, "404 Not Found", "NoSuchKey")
	case asked.method == "HEAD" && s.has(bucket, prefix, number):
		head(to, number)
	case asked.method == "GET" && s.has(bucket, prefix, number):
		// Pages are read for what they name; this one names nothing.
		head(to, number)
		to.Write(bytes.Repeat([]byte(" "), size))
	case asked.method == "HEAD":
		to.WriteString("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	case asked.method == "PUT" && from != "":
		s.copy(bucket, prefix, number, asked, to)
	default:
		refuse(to, "501 Not Implemented", "NotImplemented")
	}
}

func (s *server) count(bucket, method string) {
	end := &s.counts.Destination
	if bucket == s.source {
		end = &s.counts.Source
	}
	end.All++
	if method != "GET" && method != "HEAD" {
		end.Changes++
	}
}

func (s *server) control(word string, to *bytes.Buffer) {
	s.lock.Lock()
	defer s.lock.Unlock()
	switch word {
	case "begin":
		s.counts = report{}
	case "empty":
		clear(s.copied)
	}
	body, err := json.Marshal(s.counts)
	if err != nil {
		log.Fatal(err)
	}
	write(to, "200 OK", string(body))
}

func (s *server) copy(bucket, prefix string, number int, asked *request, to *bytes.Buffer) {
	begun := time.Now()
	from, err := url.PathUnescape(strings.TrimPrefix(asked.headers["x-amz-copy-source"], "/"))
	origin, key, _ := strings.Cut(from, "/")
	before, same, found := find(key)
	there := s.has(bucket, prefix, number)
	tag := fmt.Sprintf("%q", etag(number))
	guard := asked.headers["x-amz-copy-source-if-match"]
	over := asked.headers["if-match"]
	switch {
	case err != nil || !found || number != same || !s.has(origin, before, same):
		refuse(to, "404 Not Found", "NoSuchKey")
		return
	case guard != "" && guard != tag, over != "" && (over != tag || !there),
		asked.headers["if-none-match"] != "" && there, bucket == s.source:
		refuse(to, "412 Precondition Failed", "PreconditionFailed")
		return
	}
	files := s.copied[bucket+"/"+prefix]
	if files == nil {
		files = make([]bool, filesOf(prefix))
		s.copied[bucket+"/"+prefix] = files
	}
	files[number] = true
	write(to, "200 OK", "<CopyObjectResult><LastModified>"+moment+"</LastModified><ETag>"+tag+
		"</ETag></CopyObjectResult>")
	if number == len(files)-1 {
		return // the entry point goes alone, after all others
	}
	if s.counts.Copies == 0 {
		s.first = begun
	}
	s.counts.Copies++
	s.counts.Seconds = time.Since(s.first).Seconds()
}

func (s *server) list(bucket, query string, to *bytes.Buffer) {
	values, err := url.ParseQuery(query)
	if err != nil || values.Get("list-type") != "2" {
		refuse(to, "501 Not Implemented", "NotImplemented")
		return
	}
	prefix := values.Get("prefix")
	number, _ := strconv.Atoi(values.Get("continuation-token"))
	most, err := strconv.Atoi(values.Get("max-keys"))
	if err != nil || most > page {
		most = page
	}
	var rows bytes.Buffer
	found := 0
	for ; number < filesOf(prefix) && found < most; number++ {
		if s.has(bucket, prefix, number) {
			found++
			fmt.Fprintf(&rows, "<Contents><Key>%s%s</Key><LastModified>%s</LastModified>"+
				"<ETag>&quot;%s&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass>"+
				"</Contents>", prefix, name(prefix, number), moment, etag(number), size)
		}
	}
	more := ""
	if found == most && number < filesOf(prefix) {
		more = fmt.Sprintf("<NextContinuationToken>%d</NextContinuationToken>", number)
	}
	encoding := ""
	if values.Get("encoding-type") == "url" {
		encoding = "<EncodingType>url</EncodingType>"
	}
	write(to, "200 OK", fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"+
		"<ListBucketResult><Name>%s</Name><Prefix>%s</Prefix><KeyCount>%d</KeyCount>"+
		"<MaxKeys>%d</MaxKeys>%s<IsTruncated>%t</IsTruncated>%s%s</ListBucketResult>",
		bucket, prefix, found, most, encoding, more != "", more, rows.String()))
}

func (s *server) has(bucket, prefix string, number int) bool {
	if bucket == s.source {
		return true
	}
	files := s.copied[bucket+"/"+prefix]
	return files != nil && files[number]
}

// filesOf returns how many files a version has, by what is in front of its "-".
func filesOf(prefix string) int {
	number, _, _ := strings.Cut(prefix, "-")
	files, err := strconv.Atoi(number)
	if err != nil || files < 1 {
		return 0
	}
	return files
}

func name(prefix string, number int) string {
	if number == filesOf(prefix)-1 {
		return entry
	}
	return fmt.Sprintf(asset, number)
}

// find returns the version that a key is in, and which of its files it is.
func find(key string) (string, int, bool) {
	version, rest, _ := strings.Cut(key, "/")
	prefix := version + "/"
	number := filesOf(prefix) - 1
	if rest != entry {
		if _, err := fmt.Sscanf(rest, asset, &number); err != nil {
			return "", 0, false
		}
	}
	return prefix, number, number >= 0 && number < filesOf(prefix) && rest == name(prefix, number)
}

func etag(number int) string {
	return fmt.Sprintf("%032x", uint64(number+1)*0x9E3779B97F4A7C15)
}

func head(to *bytes.Buffer, number int) {
	fmt.Fprintf(to, "HTTP/1.1 200 OK\r\nETag: %q\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"+
		"Content-Type: text/javascript\r\nContent-Length: %d\r\n\r\n", etag(number), size)
}

func refuse(to *bytes.Buffer, status, code string) {
	write(to, status, "<Error><Code>"+code+"</Code><Message>"+code+"</Message></Error>")
}

func write(to *bytes.Buffer, status, body string) {
	fmt.Fprintf(to, "HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s",
		status, len(body), body)
}
