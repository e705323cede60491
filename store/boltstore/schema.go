package boltstore

import (
	"errors"
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// Schema is the version of the file's contents. A release that changes the meaning of existing
// records increments it, and its changelog says how to go back; tables and records that an older
// release ignores do not require that.
const Schema = 1

// A SchemaError means that a newer release has written the file.
type SchemaError struct {
	Path  string
	Found int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("boltstore: %s has schema %d, of a newer release; this one reads up to schema %d: start the newer "+
		"release again, or restore a backup that this one has made", e.Path, e.Found, Schema)
}

var (
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")
)

// schemaOf is the version in a file, 0 if it has none.
func schemaOf(tx *bolt.Tx) (int, error) {
	meta := tx.Bucket(metaBucket)
	if meta == nil || meta.Get(schemaKey) == nil {
		return 0, nil
	}
	n, err := strconv.Atoi(string(meta.Get(schemaKey)))
	if err != nil || n < 1 {
		return 0, errors.New("the schema version does not read")
	}
	return n, nil
}

// checkSchema refuses a file of a newer release, before anything is changed, and writes the
// version into a file that has none.
func checkSchema(db *bolt.DB) error {
	found := 0
	err := guard(func() error {
		return db.View(func(tx *bolt.Tx) (err error) {
			found, err = schemaOf(tx)
			return err
		})
	})
	switch {
	case err != nil:
		return fmt.Errorf("boltstore: %s: %w", db.Path(), err)
	case found > Schema:
		return &SchemaError{Path: db.Path(), Found: found}
	case found == Schema:
		return nil
	}
	return guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			meta, err := tx.CreateBucketIfNotExists(metaBucket)
			if err != nil {
				return err
			}
			return meta.Put(schemaKey, []byte(strconv.Itoa(Schema)))
		})
	})
}
