// Closes connections that are in others' way: once a second those that have overrun a time
// (ConnectionState::sweep), and at once some of them when clients hold too much (budget.h).
//
// `relieve` goes by weight: what a connection holds, times how long nothing has moved on it. So a
// client that holds much and reads it is cut off after one that holds as much and doesn't.
//
// Threads: those of the io context. A sweep takes one connection's mutex after the other.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "fsd/wire/budget.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/connection_table.h"

namespace zabfs::fsd::wire {

class Sweeper {
 public:
  Sweeper(boost::asio::io_context& io, Budget& budget, const ConnectionTable& connections)
      : budget_(budget), connections_(connections), timer_(io) {}

  // The first sweep comes after a second.
  void start();
  // Cuts off who holds the most and has moved least, until the rest is within the limit.
  void relieve();

 private:
  void sweep();
  void look_at(Connection& connection, Clock::time_point now);

  Budget& budget_;
  const ConnectionTable& connections_;
  boost::asio::steady_timer timer_;
  int sweeps_short_ = 0;  // for how long clients have held too much
};

}  // namespace zabfs::fsd::wire
