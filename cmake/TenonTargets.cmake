# The few kinds of target Tenon is made of, and the flags they share.

add_library(tenon_flags INTERFACE)
target_compile_options(tenon_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion
  -fno-math-errno
  # Paths of the building machine stay out of binaries and messages.
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(TENON_WERROR)
  target_compile_options(tenon_flags INTERFACE -Werror)
endif()
if(TENON_SANITIZE)
  target_compile_options(tenon_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(tenon_flags INTERFACE -fsanitize=address,undefined)
endif()

# Where programs, libraries and plugins lie while they are built: the same
# shape as when installed, so that both are found the same way.
set(TENON_PLUGIN_SUBDIR tenon/plugins-1)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

# tenon_room(name sources...): a folder of the core, linkable alone by tests.
function(tenon_room name)
  add_library(tenon_${name} OBJECT ${ARGN})
  target_include_directories(tenon_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/core/include ${PROJECT_SOURCE_DIR}/core)
  # Visible: the core's own calls cross libtenon, the program and the tests.
  target_link_libraries(tenon_${name} PUBLIC tenon_flags m Threads::Threads)
endfunction()

# tenon_plugin(kind name sources...): one .so that links nothing of Tenon's.
function(tenon_plugin kind name)
  set(target tenon-${kind}-${name})
  add_library(${target} MODULE ${ARGN})
  set_target_properties(${target} PROPERTIES
    PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/${TENON_PLUGIN_SUBDIR}
    C_VISIBILITY_PRESET hidden)
  target_compile_definitions(${target} PRIVATE TN_PLUGIN_VERSION="${PROJECT_VERSION}")
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/core/include)
  target_link_libraries(${target} PRIVATE tenon_flags m)
  target_link_options(${target} PRIVATE -Wl,-z,nodelete)
  if(NOT TENON_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/${TENON_PLUGIN_SUBDIR})
endfunction()

# tenon_test(path rooms...): tests/<path>.c, linked to these rooms of the core,
# registered with CTest under its path. Plugins are found beside libtenon.
function(tenon_test path)
  string(REPLACE "/" "_" target ${path})
  add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/${path}.c)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  foreach(room IN LISTS ARGN)
    target_link_libraries(${target} PRIVATE tenon_${room})
  endforeach()
  target_link_libraries(${target} PRIVATE tenon_flags tenon_test_support tenon_cmocka m ${CMAKE_DL_LIBS})
  add_test(NAME ${path} COMMAND ${target})
  set_tests_properties(${path} PROPERTIES
    ENVIRONMENT "TENON_PLUGIN_PATH=${CMAKE_BINARY_DIR}/lib/${TENON_PLUGIN_SUBDIR};TENON_BINARY=${CMAKE_BINARY_DIR}/bin/tenon;TENON_SOURCE=${PROJECT_SOURCE_DIR}"
    TIMEOUT 600)
endfunction()
