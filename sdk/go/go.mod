module tidemill.dev/tidemill

go 1.25
