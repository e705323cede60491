package storetest

import (
	"bytes"
	"errors"
)

// PlainSealer binds records to their names without encryption, in place of a keyring.
type PlainSealer struct{}

// SealRecord puts the name before the record.
func (PlainSealer) SealRecord(name string, plain []byte) ([]byte, error) {
	return append([]byte(name+"\x00"), plain...), nil
}

// OpenRecord fails for a record of another name.
func (PlainSealer) OpenRecord(name string, box []byte) (plain []byte, old bool, err error) {
	plain, ok := bytes.CutPrefix(box, []byte(name+"\x00"))
	if !ok {
		return nil, false, errors.New("the record of another name")
	}
	return plain, false, nil
}
