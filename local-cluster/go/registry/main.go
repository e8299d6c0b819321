// Registry is an image registry for tests: distribution's, with TLS and one user, on a free port of loopback. It keeps images in
// memory. It prints its address, and a line for each request: method, path, status. It ends when its standard input ends, so that it
// does not outlive the test that started it.
//
//	REGISTRY_PASSWORD=SECRET registry -certificate FILE -key FILE -user NAME
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("registry: ")
	certificate := flag.String("certificate", "", "PEM file of the server's certificate")
	key := flag.String("key", "", "PEM file of its key")
	user := flag.String("user", "", "the only user, whose password is in the environment as REGISTRY_PASSWORD")
	flag.Parse()
	if err := serve(*certificate, *key, *user, os.Getenv("REGISTRY_PASSWORD")); err != nil {
		log.Fatal(err)
	}
}

func serve(certificate, key, user, password string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	passwords, err := htpasswd(user, password)
	if err != nil {
		return err
	}
	defer os.Remove(passwords)
	// The registry also logs each refused request, which is what some tests are about.
	logrus.SetLevel(logrus.PanicLevel)
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": nil},
		Auth:    configuration.Auth{"htpasswd": {"realm": "test", "path": passwords}},
	}
	config.HTTP.RelativeURLs = true
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
	})
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           printed(handlers.NewApp(context.Background(), config)),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	fmt.Println(listener.Addr().(*net.TCPAddr))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// printed prints a line for each request, after its response.
func printed(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		status := &statusWriter{ResponseWriter: writer, status: http.StatusOK}
		handler.ServeHTTP(status, request)
		fmt.Println(request.Method, request.URL.Path, status.status)
	})
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// htpasswd writes a file with one user, as Apache's htpasswd -B does, and returns the file's path.
func htpasswd(user, password string) (string, error) {
	if user == "" || password == "" {
		return "", fmt.Errorf("-user and REGISTRY_PASSWORD must not be empty")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp("", "registry-*")
	if err != nil {
		return "", err
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "%s:%s\n", user, hash); err != nil {
		return "", err
	}
	return file.Name(), nil
}
