// Package hashivault is empty: Kyverno for tests has no client of this key service.
package hashivault
